package keep

import (
	"strings"
	"unicode/utf8"
)

// validName checks the name of a secret, a user or an organization: any UTF-8
// without NUL, 1 to MaxName bytes. what describes the name in the error.
func validName(what, name string) error {
	switch {
	case name == "":
		return errorf(CodeEmptyValue, "%s must not be empty", what)
	case len(name) > MaxName:
		return errorf(CodeInvalid, "%s is longer than %d bytes", what, MaxName)
	case !utf8.ValidString(name):
		return errorf(CodeInvalid, "%s is not valid UTF-8", what)
	case strings.IndexByte(name, 0) >= 0:
		return errorf(CodeInvalid, "%s has a NUL byte", what)
	}
	return nil
}

// newName also refuses names that change in a path. HTTP clients resolve the
// segments . and .., so the path of a secret named .., …/orgs/ID/secrets/..,
// would become that of the organization.
func newName(what, name string) error {
	if strings.Contains(name, ".") {
		for segment := range strings.SplitSeq(name, "/") {
			if segment == "." || segment == ".." {
				return errorf(CodeInvalid, "%s must not have a %q segment", what, segment)
			}
		}
	}
	return validName(what, name)
}

func validValue(value string) error {
	switch {
	case len(value) > MaxValue:
		return errorf(CodeTooLarge, "a secret's value is longer than %d bytes", MaxValue)
	case !utf8.ValidString(value):
		return errorf(CodeInvalid, "a secret's value is not valid UTF-8")
	}
	return nil
}

// matchName reports whether a name matches a pattern, in which * matches any text.
func matchName(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(part):], more
	}
}
