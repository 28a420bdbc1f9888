package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// ExistsError reports that a profile already exists.
type ExistsError struct {
	File string
	Name string
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("the configs file %s has a profile %q already", e.File, e.Name)
}

// Writer adds one profile to a configs file. NewWriter makes all the checks that
// could fail, so that a new token isn't lost because it can't be written.
type Writer struct {
	path    string // the file itself, behind symbolic links
	name    string
	replace bool
	before  Profile
	temp    *os.File
}

// reserved are names that influx uses for something else.
var reserved = []string{"-", "list", "update", "set", "delete", "switch", "create"}

// NewWriter prepares to add a profile with that name. If it exists, that is an
// ExistsError, unless it is to be replaced.
func NewWriter(path, name string, replace bool) (*Writer, error) {
	if name == "" || slices.Contains(reserved, name) {
		return nil, fmt.Errorf("%q can't be the name of a profile", name)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := Load(path)
	if err != nil {
		return nil, err
	}
	if _, ok := f.Profiles[name]; ok && !replace {
		return nil, &ExistsError{path, name}
	}
	before, _, _ := f.Active() // more than one counts as none
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("write the configs file: %w", err)
	}
	temp, err := createTemp(path)
	if err != nil {
		return nil, err
	}
	return &Writer{path, name, replace, before, temp}, nil
}

// Before returns the currently active profile, or an empty one.
func (w *Writer) Before() Profile { return w.before }

// Close gives up, unless Write was called.
func (w *Writer) Close() error {
	if w.temp == nil {
		return nil
	}
	err := errors.Join(w.temp.Close(), os.Remove(w.temp.Name()))
	w.temp = nil
	return err
}

// Write adds the profile and preserves the rest of the file. If the profile is
// active, all others become inactive. The file gets mode 0600.
func (w *Writer) Write(p Profile) error {
	old, err := os.ReadFile(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the configs file: %w", err)
	}
	text, err := add(old, w.name, p, w.replace)
	if errors.Is(err, errExists) {
		return &ExistsError{w.path, w.name}
	}
	if err != nil {
		return fmt.Errorf("write the configs file %s: %w", w.path, err)
	}
	err = commit(w.temp, w.path, text)
	w.temp = nil
	return err
}

// createTemp creates the file that becomes the configs file.
func createTemp(path string) (*os.File, error) {
	temp, err := durable.CreateTemp(filepath.Dir(path), ".configs-*")
	if err != nil {
		return nil, fmt.Errorf("write the configs file: %w", err)
	}
	return temp, nil
}

func commit(temp *os.File, path string, text []byte) error {
	_, err := temp.Write(text)
	if err := durable.Commit(temp, path, err); err != nil {
		return fmt.Errorf("write the configs file: %w", err)
	}
	return nil
}

var errExists = errors.New("the profile exists")

// add returns the text of a configs file with one more profile. It edits the
// text, to preserve comments and layout. If the edited text doesn't parse to the
// right profiles, because of unusual formatting, it encodes the file from
// scratch.
func add(text []byte, name string, p Profile, replace bool) ([]byte, error) {
	want, err := decode(text)
	if err != nil {
		return nil, err
	}
	if _, ok := want[name]; ok && !replace {
		return nil, errExists
	}
	for n, v := range want {
		if _, ok := v.(map[string]any); !ok {
			return nil, fmt.Errorf("%q stands outside of a profile", n)
		}
	}
	only := ""
	if p.Active {
		only = name
		deactivateOthers(want, name)
	}
	// As influx writes it.
	table := map[string]any{"url": p.URL, "token": p.Token, "org": p.Org, "active": p.Active}
	if p.Cookie != "" {
		table["cookie"] = p.Cookie
	}
	if p.Previous {
		table["previous"] = true
	}
	want[name] = table
	tail, err := encode(map[string]any{name: table})
	if err != nil {
		return nil, err
	}
	edited := without(text, name, only)
	if len(edited) > 0 && !bytes.HasSuffix(edited, []byte("\n\n")) {
		edited = append(bytes.TrimRight(edited, "\n"), "\n\n"...)
	}
	edited = append(edited, tail...)
	return faithful(edited, want)
}

// deactivateOthers makes all profiles inactive but one, and marks the one that
// was active as previous, as influx does.
func deactivateOthers(tables map[string]any, name string) {
	for n, v := range tables {
		table := v.(map[string]any)
		was := table["active"] == true
		delete(table, "active")
		delete(table, "previous")
		if was && n != name {
			table["previous"] = true
		}
	}
}

// faithful returns an edited text if it has the right profiles, and otherwise
// encodes these: the text was laid out unusually.
func faithful(edited []byte, want map[string]any) ([]byte, error) {
	if means(edited, want) {
		return edited, nil
	}
	text, err := encode(want)
	if err == nil && !means(text, want) {
		err = errors.New("TOML can't hold it")
	}
	return text, err
}

func means(text []byte, want map[string]any) bool {
	got, err := decode(text)
	return err == nil && reflect.DeepEqual(got, want)
}

func encode(tables map[string]any) ([]byte, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(tables); err != nil {
		return nil, fmt.Errorf("encode the profiles: %w", err)
	}
	return b.Bytes(), nil
}

var (
	header   = regexp.MustCompile(`^\s*\[\s*("?)([^\[\]"]*?)("?)\s*\]\s*(#.*)?$`)
	active   = regexp.MustCompile(`^(\s*)active(\s*=\s*)true\b`)
	inactive = regexp.MustCompile(`^\s*(active\s*=\s*false|previous\s*=\s*(true|false))\s*$`)
)

// without removes the profile drop from a text. Unless only is empty, it also
// marks the active profile as previous, as influx does, if that isn't only.
func without(text []byte, drop, only string) []byte {
	var out bytes.Buffer
	name := ""
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimRight(line, "\r\n")
		if m := header.FindStringSubmatch(bare); m != nil {
			name = m[2]
		}
		isActive := only != "" && active.MatchString(bare)
		switch {
		case drop != "" && name == drop, only != "" && inactive.MatchString(bare), isActive && name == only:
			continue
		case isActive:
			line = active.ReplaceAllString(line, "${1}previous${2}true")
		}
		out.WriteString(line)
	}
	return out.Bytes()
}
