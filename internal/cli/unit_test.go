package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern string
		fits    []string
		not     []string
	}{
		{"a", []string{"a"}, []string{"", "A", "aa"}},
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "a*b"}, nil},
		{"db_*", []string{"db_", "db_x"}, []string{"db", "xdb_"}},
		{"*_password", []string{"_password", "db_password"}, []string{"password", "_password2"}},
		{"a*b*c", []string{"abc", "aXbYc", "abbcc", "a*b*c"}, []string{"ab", "acb", "abcd", "bc"}},
		{"a*a", []string{"aa", "aba", "a*a"}, []string{"a"}},
		{"a**b", []string{"ab", "axb"}, []string{"a"}},
	} {
		for _, name := range c.fits {
			if !matches(c.pattern, name) {
				t.Errorf("%q does not fit %q", name, c.pattern)
			}
		}
		for _, name := range c.not {
			if matches(c.pattern, name) {
				t.Errorf("%q fits %q", name, c.pattern)
			}
		}
	}
}

// FuzzMatches checks that a * matches any text, and that nothing else is special.
func FuzzMatches(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("", "", "")
	f.Add("aa", "a", "a")
	f.Fuzz(func(t *testing.T, before, middle, after string) {
		if strings.Contains(before+after, "*") {
			return
		}
		if !matches(before+"*"+after, before+middle+after) {
			t.Errorf("%q does not fit %q", before+middle+after, before+"*"+after)
		}
		if !matches("*"+middle+"*", before+middle+after) {
			t.Errorf("%q does not fit %q", before+middle+after, "*"+middle+"*")
		}
		if matches(before+"*"+after, middle) && (!strings.HasPrefix(middle, before) || !strings.HasSuffix(middle, after) || len(middle) < len(before)+len(after)) {
			t.Errorf("%q fits %q", middle, before+"*"+after)
		}
	})
}

// TestFindByIDOrName checks that anything that looks like an ID is never a name.
func TestFindByIDOrName(t *testing.T) {
	byID := func(context.Context, string) (string, error) { return "", client.ErrNotFound }
	byName := func(_ context.Context, name string) (string, error) { return name, nil }
	for ref, want := range map[string]string{
		"acme": "acme", "00000000deadbee": "00000000deadbee", "00000000deadbeeg": "00000000deadbeeg",
		"00000000deadbeef": "", "00000000DEADBEEF": "", "0000000000000000": "",
	} {
		got, err := find(t.Context(), ref, byID, byName)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s finds %q, %v", ref, got, err)
		}
	}
}

func TestChosen(t *testing.T) {
	secrets := map[string]string{"a": "1", "ab": "2", "b": "3"}
	for _, c := range []struct {
		patterns []string
		want     int
		err      string
	}{
		{nil, 3, ""},
		{[]string{"a*"}, 2, ""},
		{[]string{"a", "b"}, 2, ""},
		{[]string{"a*", "x*"}, 0, "there is no secret x*"},
		{[]string{"a", "x", "y"}, 0, "there is no secret x, y"},
	} {
		got, err := chosen(c.patterns, secrets)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%q: error %v", c.patterns, err)
			}
		} else if err != nil || len(got) != c.want {
			t.Errorf("%q chooses %q, %v", c.patterns, got, err)
		}
	}
	if got := exact([]string{"a", "b*"}); got != nil {
		t.Errorf("the server would be asked for %q", got)
	}
}

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	for s, want := range map[string]string{
		"":                          "",
		"12h":                       "2026-03-02T00:00:00Z",
		"90m":                       "2026-03-01T13:30:00Z",
		"30d":                       "2026-03-31T12:00:00Z",
		"2w":                        "2026-03-15T12:00:00Z",
		"7305d":                     "2046-03-01T12:00:00Z",
		"2030-01-31":                "2030-01-31T00:00:00Z",
		"2030-01-31T12:00:00+02:00": "2030-01-31T10:00:00Z",
	} {
		got, err := parseExpiry(s, now)
		if err != nil || formatTime(got) != want {
			t.Errorf("%q is %s, %v; want %s", s, formatTime(got), err, want)
		}
	}
	for _, s := range []string{"yesterday", "d", "-1d", "1y", "30", "0d", "-5m", "2020-01-01", "2026-13-01", "99999999999d", "ü"} {
		if got, err := parseExpiry(s, now); err == nil {
			t.Errorf("%q is %s", s, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "90m": 90 * time.Minute, "0d": 0, "30d": 30 * day, "2w": 14 * day, "5000d": 5000 * day, "106751d": 106751 * day,
	} {
		if got, ok := parseDuration(text); !ok || got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-5m", "+1d", "1y", "30", "106752d", "15251w", "99999999999999999999d", "ü"} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzParseExpiry(f *testing.F) {
	for _, s := range []string{"", "12h", "30d", "2030-01-31", "2030-01-31T12:00:00Z", "x", "-1d", "65535w"} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseExpiry(s, now); err == nil && s != "" && !got.After(now) {
			t.Errorf("%q ends at %s, which is over", s, got)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":      "plain",
		"ü😀 x":       "ü😀 x",
		"a\nb":       `"a\nb"`,
		"\x1b]0;x\a": `"\x1b]0;x\a"`,
		"\u202e":     `"\u202e"`,
		"\xff":       `"\xff"`,
		"":           "",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
	if got := oneLine("first\nsecond \x1b[31m\u202e"); got != "first; second ?[31m?" {
		t.Errorf("a message is shown as %q", got)
	}
}

func TestSome(t *testing.T) {
	for want, names := range map[string][]string{
		"":                    nil,
		"a, b":                {"a", "b"},
		"a, b, and 2 more":    {"a", "b", "c", "d"},
		`"\n", b, and 1 more`: {"\n", "b", "c"},
	} {
		if got := some(names, 2); got != want {
			t.Errorf("%q: %s, want %s", names, got, want)
		}
	}
}

func TestChangesOf(t *testing.T) {
	v := client.Version{Added: []string{"a", "b", "c"}, Changed: []string{"d"}, Removed: []string{"e", "f"}}
	if got := changesOf(v, 2); got != "+a +b +1 more ~d -e -f" {
		t.Errorf("changes: %s", got)
	}
	v = client.Version{RolledBackTo: 3, MergedFrom: 2, Pinned: true, DeletedAt: time.Unix(0, 0)}
	if got := remarks(v); got != "back to 3, merged with what came after 2, pinned, deleted 1970-01-01T00:00:00Z" {
		t.Errorf("remarks: %s", got)
	}
}

func TestTouchedSince(t *testing.T) {
	history := []client.Version{
		{Number: 4, Removed: []string{"c"}},
		{Number: 3, Added: []string{"b"}, Changed: []string{"a"}},
		{Number: 2, Added: []string{"x"}},
	}
	if got := strings.Join(touchedSince(history, 2), ","); got != "a,b,c" {
		t.Errorf("touched: %s", got)
	}
}

func TestPermissionsOf(t *testing.T) {
	types := []string{"authorizations", "orgs", "secrets"}
	all := func(org string) (out []client.Permission) {
		for _, kind := range types {
			for _, a := range []client.Action{client.Read, client.Write} {
				r := client.Resource{Type: kind, OrgID: org}
				if kind == "orgs" && org != "" {
					r = client.Resource{Type: kind, ID: org}
				}
				out = append(out, client.Permission{Action: a, Resource: r})
			}
		}
		return out
	}
	for _, c := range []struct {
		permissions []client.Permission
		want        string
	}{
		{all(""), "everything"},
		{all("o"), "everything in the organization"},
		{all("other"), "6 permissions"},
		{client.SecretPermissions("o", client.Read), "read secrets"},
		{client.SecretPermissions("o", client.Read, client.Write), "read secrets, write secrets"},
		{client.SecretPermissions("", client.Write), "write all secrets"},
		{all("o")[:1], "1 permission"},
	} {
		if got := permissionsOf(client.Token{OrgID: "o", Permissions: c.permissions}); got != c.want {
			t.Errorf("%v: %s, want %s", c.permissions, got, c.want)
		}
	}
}

func TestTrimLineEnd(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", "a\r": "a\r", "\n": "", "": ""} {
		if got := trimLineEnd(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

func TestReadLine(t *testing.T) {
	r := strings.NewReader("first\nsecond\nlast")
	for _, want := range []string{"first", "second", "last"} {
		if got, _ := readLine(r); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

// TestReadPassword checks that the line break at the end of a file isn't part of a
// password.
func TestReadPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]input{"file": {file: file}, "standard input": {file: "-"}, "nothing said": {}} {
		cmd := &cobra.Command{}
		cmd.SetIn(strings.NewReader("correct horse\n"))
		if p, err := in.readCredential(cmd, "Password", true); p != "correct horse" || err != nil {
			t.Errorf("%s: read %q, %v", name, p, err)
		}
	}
}

// TestReport checks that an error names a signal that caused it, and hides no other
// cause.
func TestReport(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		err    error
		status int
		text   string
	}{
		{"success", t.Context(), nil, 0, ""},
		{"success after a signal", interrupted, nil, 0, ""},
		{"interrupted", interrupted, fmt.Errorf("ask: %w", context.Canceled), 130, "fluxkeep: interrupted\n"},
		{"a failure", t.Context(), errors.New("no"), 1, "fluxkeep: no\n"},
		{"a failure after a signal", interrupted, errors.New("close the store: no"), 1, "fluxkeep: close the store: no\n"},
		{"a status", interrupted, &exitError{status: 7}, 7, ""},
		{"a status with a reason", t.Context(), &exitError{126, errors.New("no")}, 126, "fluxkeep: no\n"},
	} {
		var b strings.Builder
		if status := report(c.ctx, &b, c.err); status != c.status || b.String() != c.text {
			t.Errorf("%s: status %d and %q, want %d and %q", c.name, status, b.String(), c.status, c.text)
		}
	}
}

// TestHints checks the hints for common errors.
func TestHints(t *testing.T) {
	for _, c := range []struct {
		code    client.Code
		message string
		hint    string
	}{
		{client.ErrUnauthorized, "unauthorized access", "does not know the token"},
		{client.ErrUnauthorized, "write:orgs/1/secrets is unauthorized", "token create"},
		{client.ErrUnauthorized, "token is inactive", "token activate"},
		{client.ErrForbidden, "User is inactive", "user activate"},
		{client.ErrForbidden, "User is inactive", "was deleted"},
		{client.ErrNotFound, "404 page not found", "org list"},
		{client.ErrNotFound, "path not found", "--host"},
		{client.ErrNotFound, "the server returned 404 Not Found", "is a Fluxkeep server at that address"},
		{client.ErrInvalid, "id must have a length of 16 bytes", "token list"},
		{client.ErrNotFound, "version not found", "secret history"},
		{client.ErrTooManyRequests, "", "wait"},
		{client.ErrUnavailable, "", "log"},
		{client.ErrChanged, "", "again"},
		{client.ErrConflict, "onboarding has already been completed", "already set up"},
		{client.ErrInvalid, "limit is invalid", ""},
	} {
		got := hintFor(&client.Error{Code: c.code, Message: c.message})
		if !strings.Contains(got, c.hint) || (c.hint == "") != (got == "") {
			t.Errorf("%s %q: hint %q", c.code, c.message, got)
		}
	}
}

func TestTokenStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		token client.Token
		want  string
	}{
		{client.Token{Status: client.Active}, "active"},
		{client.Token{Status: client.Active, ExpiresAt: now.Add(1)}, "active"},
		{client.Token{Status: client.Active, ExpiresAt: now}, "expired"},
		{client.Token{Status: client.Inactive, ExpiresAt: now.Add(1)}, "inactive"},
	} {
		if got := statusOf(c.token, now); got != c.want {
			t.Errorf("%+v is %q, want %q", c.token, got, c.want)
		}
	}
}

// TestYAMLIsJSON checks that both formats contain the same data, whatever the text.
func TestYAMLIsJSON(t *testing.T) {
	for _, value := range []any{
		map[string]string{"a": "", "b": "null", "c": "0x1f", "d": "2020-01-01", "e": "- x: y", "f": "#", "g": "\u2028\U0001F600\x01\t", "~": "~", "<<": "<<"},
		[]string{}, []client.Version{{Number: 1, CreatedAt: time.Unix(1, 0).UTC(), Added: []string{"y"}}},
		client.Token{ID: "0000000000000e10", Permissions: client.SecretPermissions("00000000000000e1", client.Read)}, map[string]int{},
	} {
		var inJSON, inYAML bytes.Buffer
		if err := errors.Join(printJSON(&inJSON, value), printYAML(&inYAML, value)); err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal(inJSON.Bytes(), &want), yaml.Unmarshal(inYAML.Bytes(), &got)); err != nil {
			t.Fatalf("%v:\n%s", err, &inYAML)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis in YAML\n%s", &inJSON, &inYAML)
		}
	}
}

// TestEditorCommand checks that Vim is told not to copy the values to the disk, also
// where it is installed as vi.
func TestEditorCommand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vim.basic", "ed"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"vi": "vim.basic", "vimlike": "ed"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip("symbolic links don't work here:", err)
		}
	}
	t.Setenv("PATH", dir)
	for editor, told := range map[string]bool{"": true, "vi": true, "vim": true, "vim.basic -R": true, "/opt/bin/nvim": true, "ed": false, "vimlike": false} {
		t.Setenv("VISUAL", "")
		t.Setenv("EDITOR", editor)
		if got := editorCommand(); strings.Contains(got, "-i NONE") != told || !strings.HasPrefix(got, editor) {
			t.Errorf("the command for the editor %q is %q", editor, got)
		}
	}
}
