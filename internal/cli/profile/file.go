package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Profile is a table of the configs file.
type Profile struct {
	Name  string
	URL   string
	Token string
	Org   string
	// Cookie holds user and password, in base64, in a profile that influx
	// created for signing in.
	Cookie string
	Active bool
	// Previous marks the profile that was active before, for "config -".
	Previous bool
}

// File is a parsed configs file.
type File struct {
	Path     string
	Profiles map[string]Profile
}

// DefaultPath returns the configs file in $HOME or, without one, in the home
// folder that the system has for the user.
func DefaultPath() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		u, uerr := user.Current()
		if uerr != nil || u.HomeDir == "" {
			return "", fmt.Errorf("find the configs file: %w", err)
		}
		home = u.HomeDir
	}
	return filepath.Join(home, ".influxdbv2", "configs"), nil
}

// Load reads a configs file. A missing file has no profiles.
func Load(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the configs file: %w", err)
	}
	f := &File{Path: path}
	if f.Profiles, err = parse(data); err != nil {
		return nil, fmt.Errorf("read the configs file %s: %w", path, err)
	}
	return f, nil
}

func parse(data []byte) (map[string]Profile, error) {
	tables, err := decode(data)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Profile)
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		table, ok := tables[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%q stands outside of a profile", name)
		}
		p := Profile{Name: name}
		err := cmp.Or(
			field(table, "url", &p.URL), field(table, "token", &p.Token), field(table, "org", &p.Org),
			field(table, "cookie", &p.Cookie), field(table, "active", &p.Active),
			field(table, "previous", &p.Previous),
		)
		if err != nil {
			return nil, fmt.Errorf("profile %q: %w", name, err)
		}
		out[name] = p
	}
	return out, nil
}

func field[T any](table map[string]any, key string, to *T) error {
	v, ok := table[key]
	if !ok {
		return nil
	}
	if *to, ok = v.(T); !ok {
		return fmt.Errorf("%s must be a %T", key, *to)
	}
	return nil
}

// decode reads TOML. Its errors contain the line number, never the line.
func decode(data []byte) (map[string]any, error) {
	out := make(map[string]any)
	if err := toml.Unmarshal(data, &out); err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("line %d is not valid TOML", p.Position.Line)
		}
		return nil, errors.New("it is not valid TOML")
	}
	return out, nil
}

// Names returns the names of the profiles, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.Profiles)) }

// Active returns the active profile or, if there is only one profile, that
// one. ok is false if there is none, and an error says that there is more than
// one to choose from.
func (f *File) Active() (p Profile, ok bool, err error) {
	var active []string
	for name, p := range f.Profiles {
		if p.Active {
			active = append(active, name)
		}
	}
	if len(active) == 0 {
		active = f.Names()
	}
	switch len(active) {
	case 0:
		return Profile{}, false, nil
	case 1:
		return f.Profiles[active[0]], true, nil
	}
	slices.Sort(active)
	return Profile{}, false, &AmbiguousError{File: f.Path, Names: active}
}

// AmbiguousError reports that there is more than one profile to choose from.
type AmbiguousError struct {
	File  string
	Names []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("the configs file %s has more than one profile to choose from: %s", e.File, strings.Join(e.Names, ", "))
}

// UnknownError reports that there is no profile with a name.
type UnknownError struct {
	File  string
	Name  string
	Names []string // of the existing profiles
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("the configs file %s has no profile %q", e.File, e.Name)
}
