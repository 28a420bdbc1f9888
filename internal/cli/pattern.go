package cli

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches reports whether a name matches a pattern, in which * matches any
// text. A name that contains a * matches itself.
func matches(pattern, name string) bool {
	if pattern == name {
		return true
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return false
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// exact returns the patterns if they are all plain names, so the server can
// select by them. Otherwise it returns nil, which selects all names.
func exact(patterns []string) []string {
	if slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(p, "*") }) {
		return nil
	}
	return patterns
}

// unmatched returns the patterns that match none of the names.
func unmatched(patterns []string, names iter.Seq[string]) []string {
	left := slices.Clone(patterns)
	for name := range names {
		left = slices.DeleteFunc(left, func(p string) bool { return matches(p, name) })
	}
	return left
}

// chosen returns the secrets that match the patterns; none means all. A pattern
// that matches nothing is an error.
func chosen(patterns []string, secrets map[string]string) (map[string]string, error) {
	if len(patterns) == 0 {
		return secrets, nil
	}
	out := make(map[string]string)
	for name, value := range secrets {
		if matchesAny(patterns, name) {
			out[name] = value
		}
	}
	if missing := unmatched(patterns, maps.Keys(out)); len(missing) > 0 {
		return nil, missingError(missing)
	}
	return out, nil
}
