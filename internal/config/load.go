package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// envPrefix is the prefix of environment variables that hold settings.
const envPrefix = "FLUXKEEP_"

// Error says which setting is invalid, and where it was set.
type Error struct {
	Setting string
	Problem string // such as "must be more than 0"
	from    source
}

func (e *Error) Error() string {
	switch e.from.kind {
	case fromEnvironment:
		return e.from.where + " " + e.Problem
	case fromFile:
		return e.from.where + ": " + e.Setting + " " + e.Problem
	}
	return "--" + e.Setting + " " + e.Problem
}

// source is the origin of a value that is neither the default nor from the
// command line.
type source struct {
	kind  sourceKind
	where string // the variable, or the file and line
}

type sourceKind int

const (
	fromElsewhere sourceKind = iota
	fromFile
	fromEnvironment
)

// EnvName returns the name of the environment variable for a flag.
func EnvName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Load applies the environment and then the file to settings that the command
// line did not set, and checks the result. Call it after parsing the flags.
// environ is in the form of os.Environ; empty variables are ignored.
func (c *Config) Load(environ []string) error {
	variables := make(map[string]string)
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			variables[name] = value
		}
	}
	var err error
	c.flags.VisitAll(func(f *pflag.Flag) {
		name := EnvName(f.Name)
		v := variables[name]
		delete(variables, name)
		if err != nil || f.Changed || v == "" {
			return
		}
		if serr := f.Value.Set(v); serr != nil {
			err = &Error{f.Name, plainProblem(f, serr), source{fromEnvironment, name}}
			return
		}
		c.sources[f.Name] = source{fromEnvironment, name}
	})
	if err != nil {
		return err
	}
	c.UnknownVars = slices.Sorted(maps.Keys(variables))
	if c.File != "" {
		entries, err := readConfigFile(c.File)
		if err != nil {
			return err
		}
		if err := c.apply(entries); err != nil {
			return err
		}
	}
	if err := c.complete(); err != nil {
		return err
	}
	return c.check()
}

// apply applies settings from the file.
func (c *Config) apply(entries []fileEntry) error {
	for _, e := range entries {
		f := c.flags.Lookup(e.key)
		if f == nil || f.Name == "config" {
			return fmt.Errorf("%s: there is no setting %q", e.where(), e.key)
		}
		if f.Changed || c.sources[f.Name].kind == fromEnvironment {
			// An overridden value must be valid too, or a start without the
			// flag fails.
			if err := New().set(e); err != nil {
				return err
			}
			continue
		}
		if err := c.set(e); err != nil {
			return err
		}
		c.sources[f.Name] = source{fromFile, e.where()}
	}
	return nil
}

// set applies a setting that exists.
func (c *Config) set(e fileEntry) error {
	f := c.flags.Lookup(e.key)
	text, err := e.text()
	if err == nil {
		err = f.Value.Set(text)
	}
	if err != nil {
		return &Error{e.key, plainProblem(f, err), source{fromFile, e.where()}}
	}
	return nil
}

// plainProblem describes an invalid value for users; the standard library's
// errors are written for programmers.
func plainProblem(f *pflag.Flag, err error) string {
	switch f.Value.Type() {
	case "int":
		return "must be a whole number"
	case "float64":
		return "must be a number"
	case "duration":
		return "must be a duration such as 90s, 5m or 1h30m"
	}
	return err.Error()
}

// Reload reads the file again and applies the settings that can change while
// the server runs. It returns the names of the other settings that have
// changed in the file and need a restart.
func (c *Config) Reload() (restart []string, err error) {
	if c.File == "" {
		return nil, nil
	}
	entries, err := readConfigFile(c.File)
	if err != nil {
		return nil, err
	}
	fresh := New()
	if err := fresh.apply(entries); err != nil {
		return nil, err
	}
	c.flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || c.sources[f.Name].kind == fromEnvironment {
			return
		}
		now := fresh.flags.Lookup(f.Name)
		switch {
		case now.Value.String() == c.written(f):
		case f.Name == "log-level":
			c.LogLevel = fresh.LogLevel
			c.sources[f.Name] = fresh.sources[f.Name]
		default:
			restart = append(restart, f.Name)
		}
	})
	return restart, nil
}

// written returns a setting without the defaults from complete.
func (c *Config) written(f *pflag.Flag) string {
	if c.sources[f.Name].kind == fromElsewhere {
		return f.DefValue
	}
	return f.Value.String()
}
