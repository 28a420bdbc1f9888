package process

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestVariables(t *testing.T) {
	for _, c := range []struct {
		name    string
		prefix  string
		secrets map[string]string
		want    map[string]string
		err     string
	}{
		{"as they are", "", map[string]string{"db_PASSWORD1": "x"}, map[string]string{"db_PASSWORD1": "x"}, ""},
		{"other characters", "", map[string]string{"db-pass.word/ü😀": "x"}, map[string]string{"db_pass_word___": "x"}, ""},
		{"a digit first", "", map[string]string{"1st": "x"}, map[string]string{"_1st": "x"}, ""},
		{"a digit behind a prefix", "TF_VAR_", map[string]string{"1st": "x", "a": "y"}, map[string]string{"TF_VAR_1st": "x", "TF_VAR_a": "y"}, ""},
		{"a clash", "", map[string]string{"a-b": "s3cret", "a.b": "2", "c": "3"}, nil, `secrets "a-b" and "a.b" would both be the variable a_b`},
		{"a clash by a digit", "", map[string]string{"1": "s3cret", "_1": "2"}, nil, `secrets "1" and "_1" would both be the variable _1`},
		{"case counts", "", map[string]string{"a": "1", "A": "2"}, map[string]string{"a": "1", "A": "2"}, ""},
		{"NUL", "", map[string]string{"a": "s3cret\x00"}, nil, `the value of secret "a" has a NUL byte`},
		{"bad prefix", "1_", nil, nil, `the prefix "1_" can't begin the name of a variable`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Variables(c.prefix, c.secrets)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	got := Environment([]string{"A=1", "INFLUX_TOKEN=t", "B=2=3", "=C:=x", "odd"}, []string{"INFLUX_TOKEN"}, map[string]string{"B": "new", "D": "="})
	want := []string{"A=1", "=C:=x", "odd", "B=new", "D=="}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzVariables checks that two secrets get different variables that a shell accepts, or
// that an error names both.
func FuzzVariables(f *testing.F) {
	for _, s := range [][3]string{{"", "a", "b"}, {"", "a-b", "a_b"}, {"P_", "1", "_1"}, {"", "1", "_1"}, {"", "", "_"}, {"", "ü", "😀"}, {"9", "a", "b"}, {"", "\xff", "a"}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, prefix, a, b string) {
		if a == b || a == "" || b == "" {
			return
		}
		vars, err := Variables(prefix, map[string]string{a: "value of a", b: "value of b"})
		var clash *ClashError
		switch {
		case errors.As(err, &clash):
			if pair := []string{clash.First, clash.Second}; !slices.Contains(pair, a) || !slices.Contains(pair, b) {
				t.Errorf("the clash of %q and %q is reported as %v", a, b, err)
			}
			if variable(prefix, a) != variable(prefix, b) {
				t.Errorf("%q and %q do not clash", a, b)
			}
		case err != nil:
			if prefixPattern.MatchString(prefix) {
				t.Error(err)
			}
		default:
			if len(vars) != 2 || vars[variable(prefix, a)] != "value of a" || vars[variable(prefix, b)] != "value of b" {
				t.Errorf("%q and %q became %q", a, b, vars)
			}
			for v := range vars {
				if v == "" || !prefixPattern.MatchString(v) {
					t.Errorf("%q is no name of a variable", v)
				}
			}
		}
	})
}
