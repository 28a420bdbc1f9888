package secretfile

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// values are difficult values.
var values = []string{
	"", " ", "plain", "007", "1e3", "true", "null", "~", "yes", "0x10", "2026-03-01", "a b", " lead", "trail ", "tab\t",
	"it's", `say "hi"`, `it's "both"`, `back\slash`, `\n`, `\\n`, `\`, `"`, "'", "`cmd`", "$HOME", "${HOME}", "$(id)", "!history", "#no comment", "a #b", "a#b",
	"line\nline", "\n", "\nlead", "trail\n", "crlf\r\nend", "\r", "-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n",
	"ü😀", "\u2028\u2029\u0085\ufeff", "\x00\x01\x1f\x7f", "a: b", "- a", "[a]", "{a}", "&a", "*a", "!!str", "|", ">", "%", "@", "=", "==", "<<",
	strings.Repeat("long line ", 300), strings.Repeat("x", 5000),
}

func everything() map[string]string {
	out := make(map[string]string)
	for i, v := range values {
		out["NAME_"+strings.Repeat("x", i)] = v
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, f := range Formats() {
		for name, secrets := range map[string]map[string]string{"empty": {}, "all": everything()} {
			t.Run(string(f)+" "+name, func(t *testing.T) {
				roundTrip(t, f, secrets)
			})
		}
		for _, v := range values {
			roundTrip(t, f, map[string]string{"NAME": v})
		}
	}
	for _, f := range []Format{JSON, YAML} {
		names := make(map[string]string)
		for _, v := range values {
			names[v] = v
		}
		roundTrip(t, f, names)
	}
}

func roundTrip(t *testing.T, f Format, secrets map[string]string) {
	t.Helper()
	text, err := Append(nil, f, secrets)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	back, err := Parse(f, text)
	if err != nil {
		t.Fatalf("%s: %v in\n%s", f, err, text)
	}
	if !maps.Equal(back, secrets) {
		for n := range secrets {
			if back[n] != secrets[n] {
				t.Errorf("%s: %q was %q and came back as %q from\n%s", f, n, secrets[n], back[n], text)
			}
		}
		t.Fatalf("%s: %d secrets came back as %d", f, len(secrets), len(back))
	}
}

// TestShell checks that a shell reads the same values from a dotenv file, except for
// carriage returns, which it can't escape, and NUL, which it can't represent.
func TestShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	for _, v := range values {
		if strings.ContainsAny(v, "\r\x00") {
			continue
		}
		text, err := Append(nil, Dotenv, map[string]string{"NAME": v})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "env")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(sh, "-c", `. "$1"; printf '%s' "$NAME"`, "sh", path).Output()
		if err != nil || string(out) != v {
			t.Errorf("%q is %q to a shell, %v, from %s", v, out, err, text)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name   string
		format Format
		text   string
		want   map[string]string
		err    string
	}{
		{"comments and blanks", Dotenv, "\ufeff# c\n\n  A = 1 # c\r\n\texport  B=x#y\nC=\nD= # c\nexport=e\n", map[string]string{"A": "1", "B": "x#y", "C": "", "D": "", "export": "e"}, ""},
		{"quotes", Dotenv, `A='a $B \n "x"'` + "\n" + `B="a $C \n \x \" \$" # c`, map[string]string{"A": `a $B \n "x"`, "B": "a $C \n \\x \" $"}, ""},
		{"lines", Dotenv, "A='1\n2'\nB=\"3\n4\"\n", map[string]string{"A": "1\n2", "B": "3\n4"}, ""},
		{"nothing is expanded", Dotenv, "A=1\nB=$A${A}`id`$(id)\n", map[string]string{"A": "1", "B": "$A${A}`id`$(id)"}, ""},
		{"twice", Dotenv, "A=s3cret\n\nA=2\n", nil, "line 3: A is already on line 1"},
		{"several errors", Dotenv, "A=1\ns3cret\nB='x's3cret\nA=s3cret\nC=3\n", nil, "line 2: this is not NAME=value\nline 3: there is text after the closing quote\nline 4: A is already on line 1"},
		{"no assignment", Dotenv, "A=1\ns3cret\n", nil, "line 2: this is not NAME=value"},
		{"a name with a space", Dotenv, "A B=s3cret\n", nil, "line 1: this is not NAME=value"},
		{"open quote", Dotenv, "A=1\nB='s3cret\nC=2\n", nil, "line 2: the closing ' is missing"},
		{"text behind a quote", Dotenv, "A='x's3cret\n", nil, "line 1: there is text after the closing quote"},
		{"object", JSON, "\n{\"a b\": \"1\", \"\": \"\"}\n", map[string]string{"a b": "1", "": ""}, ""},
		{"not an object", JSON, `["s3cret"]`, nil, "it must be an object of names and values"},
		{"null", JSON, `null`, nil, "it must be an object of names and values"},
		{"number", JSON, `{"a": "x", "b": 12345}`, nil, `the value of "b" must be a string`},
		{"null value", JSON, `{"b": null}`, nil, `the value of "b" must be a string`},
		{"twice", JSON, `{"b": "s3cret", "b": "2"}`, nil, "it is not valid JSON: duplicate name in an object"},
		{"broken", JSON, "{\n\"a\": \"s3cret\n}", nil, "line 2 is not valid JSON"},
		{"cut", JSON, "{\"a\": \"s3cret", nil, "it is not valid JSON: unexpected EOF"},
		{"two documents", JSON, `{}{}`, nil, "it is not valid JSON: invalid text after the JSON document"},
		{"mapping", YAML, "# c\na: 1\n'b c': on\nd: |\n  x\n  y\ne: 007\nf: &x 1.50\ng: *x\nh: 2026-03-01\ni: ''\n", map[string]string{"a": "1", "b c": "on", "d": "x\ny\n", "e": "007", "f": "1.50", "g": "1.50", "h": "2026-03-01", "i": ""}, ""},
		{"JSON is YAML", YAML, `{"a": "1"}`, map[string]string{"a": "1"}, ""},
		{"empty", YAML, "# nothing\n", map[string]string{}, ""},
		{"null", YAML, "a:\n", nil, `line 1: the value of "a" must be text, not null; the empty value is ""`},
		{"list", YAML, "- s3cret\n", nil, "line 1: it must be a mapping of names to values"},
		{"nested", YAML, "a: x\nb:\n  c: s3cret\n", nil, `line 3: the value of "b" must be text`},
		{"twice", YAML, "a: s3cret\nb: 1\na: 2\n", nil, `line 3: "a" is already on line 1`},
		{"binary", YAML, "a: !!binary czNjcmV0\n", nil, `line 1: the value of "a" must be text, without a tag`},
		{"merge", YAML, "a: &x 1\n<<: *x\n", nil, "line 2: a name must be text, without a tag"},
		{"two documents", YAML, "a: 1\n---\nb: 2\n", nil, "there is more than one YAML document in it"},
		{"broken", YAML, "a: 1\nb: 's3cret\n", nil, "is not valid YAML"},
		{"tabs", YAML, "a:\n\t- s3cret\n", nil, "is not valid YAML"},
		{"not UTF-8", Dotenv, "A=\xff\n", nil, "it is not valid UTF-8"},
	} {
		t.Run(string(c.format)+" "+c.name, func(t *testing.T) {
			got, err := Parse(c.format, []byte(c.text))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

func TestNamesThatDotenvCantHold(t *testing.T) {
	for _, name := range []string{"", "a b", "1a", "a=b", "ü", "a\nb", "-a"} {
		if _, err := Append(nil, Dotenv, map[string]string{name: "s3cret"}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"a.json": JSON, "a.YAML": YAML, "x/a.yml": YAML, ".env": Dotenv, "-": Dotenv, "a.txt": Dotenv} {
		if got := FormatOf(path); got != want {
			t.Errorf("%s is %s", path, got)
		}
	}
	if f, err := ParseFormat("Json"); f != JSON || err != nil {
		t.Errorf("Json: %v, %v", f, err)
	}
	if _, err := ParseFormat("toml"); err == nil {
		t.Error("took toml")
	}
}

// FuzzRoundTrip checks that names and values survive writing and reading in each format.
func FuzzRoundTrip(f *testing.F) {
	for _, v := range values {
		f.Add("NAME", v, v)
	}
	f.Fuzz(func(t *testing.T, name, value, other string) {
		if !utf8.ValidString(name) || !utf8.ValidString(value) || !utf8.ValidString(other) {
			return
		}
		roundTrip(t, JSON, map[string]string{name: value, other: name})
		roundTrip(t, YAML, map[string]string{name: value, other: name})
		if dotenvName.MatchString(name) {
			roundTrip(t, Dotenv, map[string]string{name: value, "other": other})
		}
	})
}

// FuzzParse checks that a file is either refused, or can be written and read again
// without a change. TestParse checks the errors.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"A=1\nB='x\ny'\n", "export A=\"\\n\\x\"", `{"a":"1"}`, "a: 1\nb: |\n  x\n", "a: &x 1\nb: *x\n", "? a\n: b\n", "{a: b, c}", "\ufeffA=1", "A=\r\n", "a: !!str 1", "a: *a", "<<: {a: b}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range Formats() {
			secrets, err := Parse(format, data)
			if err != nil {
				continue
			}
			roundTrip(t, format, secrets)
		}
	})
}
