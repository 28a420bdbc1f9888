package process

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// variable returns the name of the environment variable for a secret: letters,
// digits and underscores stay, any other character becomes an underscore, and
// a digit does not come first.
func variable(prefix, name string) string {
	v := prefix + strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, name)
	if v != "" && '0' <= v[0] && v[0] <= '9' {
		v = "_" + v
	}
	return v
}

var prefixPattern = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)?$`)

// ClashError says that two secrets would have the same variable.
type ClashError struct {
	Variable      string
	First, Second string // the secrets, in byte order
}

func (e *ClashError) Error() string {
	return fmt.Sprintf("secrets %q and %q would both be the variable %s", e.First, e.Second, e.Variable)
}

// Variables returns the variables for secrets: two secrets never share one.
func Variables(prefix string, secrets map[string]string) (map[string]string, error) {
	if !prefixPattern.MatchString(prefix) {
		return nil, fmt.Errorf("the prefix %q can't begin the name of a variable", prefix)
	}
	owner := make(map[string]string, len(secrets))
	out := make(map[string]string, len(secrets))
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		v := variable(prefix, name)
		if first, ok := owner[v]; ok {
			return nil, &ClashError{v, first, name}
		}
		if strings.IndexByte(secrets[name], 0) >= 0 {
			return nil, fmt.Errorf("the value of secret %q has a NUL byte, which no variable can hold", name)
		}
		owner[v], out[v] = name, secrets[name]
	}
	return out, nil
}

// Environment returns base without the variables named in drop, and with
// those of add, which win over what is there.
func Environment(base []string, drop []string, add map[string]string) []string {
	out := make([]string, 0, len(base)+len(add))
	for _, entry := range base {
		name, _, _ := strings.Cut(entry, "=")
		if _, ok := add[name]; ok || slices.Contains(drop, name) {
			continue
		}
		out = append(out, entry)
	}
	for _, name := range slices.Sorted(maps.Keys(add)) {
		out = append(out, name+"="+add[name])
	}
	return out
}
