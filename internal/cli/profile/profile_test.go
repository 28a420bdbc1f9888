package profile

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const twoProfiles = `# servers of mine
[default]
  url = "http://file:1" # here
  token = "file-token"
  org = "file-org"
  active = true

[other]
  url = "http://other:2"
  token = "other-token"
  org = "other-org"
  previous = true
`

// TestResolve checks the precedence of each setting: flags, environment, file, defaults.
func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		env  map[string]string
		file string
		want Settings
		err  string
	}{
		{name: "nothing", want: Settings{Host: DefaultHost}},
		{
			name: "file", file: twoProfiles,
			want: Settings{Host: "http://file:1", Token: "file-token", Org: "file-org", Profile: "default"},
		}, {
			name: "environment over file", file: twoProfiles,
			env:  map[string]string{"INFLUX_HOST": "http://env:1", "INFLUX_TOKEN": "env-token", "INFLUX_ORG": "env-org"},
			want: Settings{Host: "http://env:1", Token: "env-token", Org: "env-org", TokenFrom: "INFLUX_TOKEN"},
		}, {
			name: "flags over environment and file", file: twoProfiles,
			args: "--host http://flag:1 --token flag-token --org flag-org",
			env:  map[string]string{"INFLUX_HOST": "http://env:1", "INFLUX_TOKEN": "env-token", "INFLUX_ORG": "env-org"},
			want: Settings{Host: "http://flag:1", Token: "flag-token", Org: "flag-org", TokenFrom: "--token"},
		}, {
			name: "short flags", args: "-t flag-token -o flag-org -c other", file: twoProfiles,
			want: Settings{Host: "http://other:2", Token: "flag-token", Org: "flag-org", Profile: "other", TokenFrom: "--token"},
		}, {
			name: "each by itself", file: twoProfiles, args: "--org flag-org", env: map[string]string{"INFLUX_TOKEN": "env-token"},
			want: Settings{Host: "http://file:1", Token: "env-token", Org: "flag-org", Profile: "default", TokenFrom: "INFLUX_TOKEN"},
		}, {
			name: "a profile's token for another server", file: twoProfiles, args: "--host http://flag:1",
			want: Settings{Host: "http://flag:1", Org: "file-org", Profile: "default", Withheld: "http://file:1"},
		}, {
			name: "in the environment", file: twoProfiles, env: map[string]string{"INFLUX_HOST": "https://file:1"},
			want: Settings{Host: "https://file:1", Org: "file-org", Profile: "default", Withheld: "http://file:1"},
		}, {
			name: "of a profile that is named", file: twoProfiles, args: "--host http://file:1 -c other",
			want: Settings{Host: "http://file:1", Org: "other-org", Profile: "other", Withheld: "http://other:2"},
		}, {
			name: "a path is another server", file: twoProfiles, args: "--host http://file:1/keep",
			want: Settings{Host: "http://file:1/keep", Org: "file-org", Profile: "default", Withheld: "http://file:1"},
		}, {
			name: "the same server", file: twoProfiles, args: "--host HTTP://File:1/",
			want: Settings{Host: "HTTP://File:1/", Token: "file-token", Org: "file-org", Profile: "default"},
		}, {
			name: "the same server with the default port", file: "[a]\nurl = \"https://keep\"\ntoken = \"t\"\n", args: "--host https://keep:443",
			want: Settings{Host: "https://keep:443", Token: "t", Profile: "a"},
		}, {
			name: "a host that only looks the same in lower case", file: "[a]\nurl = \"http://influx:1\"\ntoken = \"t\"\n", args: "--host http://İnflux:1",
			want: Settings{Host: "http://İnflux:1", Profile: "a", Withheld: "http://influx:1"},
		}, {
			name: "the profile's host as a user name", file: twoProfiles, args: "--host http://file:1@flag",
			want: Settings{Host: "http://file:1@flag", Org: "file-org", Profile: "default", Withheld: "http://file:1"},
		}, {
			name: "the same server by its address", file: "[a]\nurl = \"https://[2001:DB8::1]/\"\ntoken = \"t\"\n", args: "--host https://[2001:db8::1]:443",
			want: Settings{Host: "https://[2001:db8::1]:443", Token: "t", Profile: "a"},
		}, {
			name: "the address in another zone", file: "[a]\nurl = \"http://[fe80::1%25Lan]:1\"\ntoken = \"t\"\n", args: "--host http://[fe80::1%25lan]:1",
			want: Settings{Host: "http://[fe80::1%25lan]:1", Profile: "a", Withheld: "http://[fe80::1%Lan]:1"},
		}, {
			name: "two URLs of no server", file: "[a]\nurl = \"ann:s3cret@keep\"\ntoken = \"t\"\n", args: "--host evil:1",
			want: Settings{Host: "evil:1", Profile: "a", Withheld: "an invalid URL"},
		}, {
			name: "a profile whose URL is of no server, for another", file: "[a]\nurl = \"keep:1\"\ntoken = \"t\"\n", args: "--host http://evil:1",
			want: Settings{Host: "http://evil:1", Profile: "a", Withheld: "an invalid URL"},
		}, {
			name: "a profile whose URL is of no server", file: "[a]\nurl = \"keep:1\"\ntoken = \"t\"\n",
			want: Settings{Host: "keep:1", Token: "t", Profile: "a"},
		}, {
			name: "a password for another server", file: "[a]\nurl = \"http://ann:s3cret@a\"\ncookie = \"" + base64.StdEncoding.EncodeToString([]byte("ann:s3cret")) + "\"\n",
			args: "--host http://b",
			want: Settings{Host: "http://b", Profile: "a", Withheld: "http://a:80"},
		}, {
			name: "a profile without a server", file: "[a]\ntoken = \"t\"\n", env: map[string]string{"INFLUX_HOST": "http://localhost:8087"},
			want: Settings{Host: "http://localhost:8087", Profile: "a", Withheld: DefaultHost},
		}, {
			name: "an ID over a name that comes later", args: "--org-id 0000000000000001", file: twoProfiles, env: map[string]string{"INFLUX_ORG": "env-org"},
			want: Settings{Host: "http://file:1", Token: "file-token", OrgID: "0000000000000001", Profile: "default"},
		}, {
			name: "a name over an ID that comes later", args: "--org flag-org", env: map[string]string{"INFLUX_ORG_ID": "0000000000000001"},
			want: Settings{Host: DefaultHost, Org: "flag-org"},
		}, {
			name: "the ID of two in the environment", env: map[string]string{"INFLUX_ORG_ID": "0000000000000001", "INFLUX_ORG": "env-org"},
			want: Settings{Host: DefaultHost, OrgID: "0000000000000001"},
		}, {
			name: "the ID and the name as flags", args: "--org-id 0000000000000001 --org a", err: "one is enough",
		}, {
			name: "the profile that is named", file: twoProfiles, env: map[string]string{"INFLUX_ACTIVE_CONFIG": "other"},
			want: Settings{Host: "http://other:2", Token: "other-token", Org: "other-org", Profile: "other"},
		}, {
			name: "the flag names another profile", file: twoProfiles, args: "-c default", env: map[string]string{"INFLUX_ACTIVE_CONFIG": "other"},
			want: Settings{Host: "http://file:1", Token: "file-token", Org: "file-org", Profile: "default"},
		}, {
			name: "no such profile", file: twoProfiles, args: "-c none", err: `has no profile "none"`,
		}, {
			name: "one profile that is not active", file: "[a]\nurl = \"http://a\"\n",
			want: Settings{Host: "http://a", Profile: "a"},
		}, {
			name: "which profile?", file: "[a]\nurl = \"http://a\"\n[b]\nurl = \"http://b\"\n", err: "more than one profile to choose from: a, b",
		}, {
			name: "two are active", file: "[a]\nactive = true\n[b]\nactive = true\n[c]\n", err: "more than one profile to choose from: a, b",
		}, {
			name: "no matter which profile", file: "[a]\nurl = \"http://a\"\n[b]\nurl = \"http://b\"\n",
			args: "--host http://flag:1 --token flag-token",
			want: Settings{Host: "http://flag:1", Token: "flag-token", TokenFrom: "--token"},
		}, {
			name: "a broken file that does not count", file: "[a", args: "--host http://flag:1 --token flag-token --org o",
			want: Settings{Host: "http://flag:1", Token: "flag-token", Org: "o", TokenFrom: "--token"},
		}, {
			name: "a broken file", file: "[a]\ntoken = \"s3cret\nurl = 1", err: "line 2 is not valid TOML",
		}, {
			name: "a token that is a number", file: "[a]\ntoken = 12345\n", err: `profile "a": token must be a string`,
		}, {
			name: "a key outside of a profile", file: "token = \"s3cret\"\n", err: `"token" stands outside of a profile`,
		}, {
			name: "user and password", file: "[a]\ncookie = \"" + base64.StdEncoding.EncodeToString([]byte("ann:p:w")) + "\"\n",
			want: Settings{Host: DefaultHost, User: "ann", Password: "p:w", Profile: "a"},
		}, {
			name: "skip-verify from the environment", env: map[string]string{"INFLUX_SKIP_VERIFY": "true"},
			want: Settings{Host: DefaultHost, SkipVerify: true},
		}, {
			name: "skip-verify by flag", args: "--skip-verify=false", env: map[string]string{"INFLUX_SKIP_VERIFY": "true"},
			want: Settings{Host: DefaultHost},
		}, {
			name: "an empty token", file: twoProfiles, args: "--token=", err: "--token is empty",
		}, {
			name: "an empty organization", file: twoProfiles, args: "--org=", env: map[string]string{"INFLUX_ORG": "env-org"}, err: "--org is empty",
		}, {
			name: "skip-verify is not yes", env: map[string]string{"INFLUX_SKIP_VERIFY": "yes"}, err: "must be true or false",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "configs")
			if c.file != "" {
				if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var f Flags
			fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
			f.Add(fs)
			if err := fs.Parse(strings.Fields(c.args)); err != nil {
				t.Fatal(err)
			}
			got, err := Resolve(&f, func(name string) string {
				if name == "INFLUX_CONFIGS_PATH" {
					return path
				}
				return c.env[name]
			})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "12345") {
					t.Errorf("the error shows what the file holds: %v", err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	for address, want := range map[string]string{
		"https://keep:8086/a":       "https://keep:8086/a",
		"https://ann@keep":          "https://ann@keep",
		"https://ann:s3cret@keep/a": "https://ann:xxxxx@keep/a",
		"//ann:s3cret@keep":         "//ann:xxxxx@keep",
		"https://ann:s3c%zz@keep":   "an invalid URL",
		"https://ann:s3/cret@keep":  "an invalid URL",
		"https:/ann:s3cret@keep":    "an invalid URL",
		"ann:s3cret@keep":           "an invalid URL",
		"keep:8086":                 "keep:8086",
		"":                          "",
	} {
		if got := Redacted(address); got != want {
			t.Errorf("Redacted(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestAdd(t *testing.T) {
	added := Profile{URL: "http://new", Token: "new-token==", Org: "new-org", Active: true}
	const block = "[new]\n  active = true\n  org = \"new-org\"\n  token = \"new-token==\"\n  url = \"http://new\"\n"
	for _, c := range []struct {
		name    string
		old     string
		replace bool
		want    string
		err     error
	}{
		{"first", "", false, block, nil},
		{"one more", twoProfiles, false, `# servers of mine
[default]
  url = "http://file:1" # here
  token = "file-token"
  org = "file-org"
  previous = true

[other]
  url = "http://other:2"
  token = "other-token"
  org = "other-org"

` + block, nil},
		{"taken", "[new]\nurl = \"x\"\n", false, "", errExists},
		{"replaced", "[new]\nurl = \"x\"\nactive = true\n\n# of a\n[a]\nurl = \"y\"\nfuture = 1\n", true, "[a]\nurl = \"y\"\nfuture = 1\n\n" + block, nil},
		{"written in another way", "a = { url = \"x\", active = true }\n", false, "[a]\n  previous = true\n  url = \"x\"\n\n" + block, nil},
		{"text that looks like a key", "[a]\nurl = '''\nactive = true\n'''\n", false, "[a]\nurl = '''\nactive = true\n'''\n\n" + block, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := add([]byte(c.old), "new", added, c.replace)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v", err)
			}
			if c.name == "text that looks like a key" {
				// Rewritten, so the parsed content is compared.
				got, want := mustDecode(t, got), mustDecode(t, []byte(c.want))
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				return
			}
			if string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestAddInactive checks that the active profile stays active.
func TestAddInactive(t *testing.T) {
	got, err := add([]byte(twoProfiles), "new", Profile{URL: "http://new", Token: "t", Org: "o"}, false)
	if want := twoProfiles + "\n[new]\n  active = false\n  org = \"o\"\n  token = \"t\"\n  url = \"http://new\"\n"; err != nil || string(got) != want {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
}

// TestReplacePrevious checks that a profile with a new token is still the previous one.
func TestReplacePrevious(t *testing.T) {
	const old = "[a]\nactive = true\n\n[b]\nurl = \"y\"\ntoken = \"old\"\nprevious = true\n"
	p := mustParse(t, old)["b"]
	p.Token = "fresh"
	got, err := add([]byte(old), "b", p, true)
	if err != nil {
		t.Fatal(err)
	}
	if after := mustParse(t, string(got)); after["b"] != p || !after["a"].Active {
		t.Errorf("the profiles are %+v", after)
	}
}

func mustParse(t *testing.T, text string) map[string]Profile {
	t.Helper()
	all, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestActivate(t *testing.T) {
	for _, c := range []struct{ in, name, want string }{
		{"[a]\n  url = \"x\" # mine\n  active = true\n\n[b]\n  url = \"y\"\n", "b", "[a]\n  url = \"x\" # mine\n  previous = true\n\n[b]\n  active = true\n  url = \"y\"\n"},
		{"[a]\nactive = true\n[b]\nprevious = true\nactive = false\n", "b", "[a]\nprevious = true\n[b]\n  active = true\n"},
		{"[a]\nactive = true\n[b]\n", "a", "[a]\n  active = true\n[b]\n"},
		{"a = { active = true }\nb = { url = \"y\" }\n", "b", "[a]\n  previous = true\n\n[b]\n  active = true\n  url = \"y\"\n"},
	} {
		if got, err := activate([]byte(c.in), c.name); err != nil || string(got) != c.want {
			t.Errorf("activate %s: got\n%s, %v\nwant\n%s", c.name, got, err, c.want)
		}
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs")
	if err := os.WriteFile(path, []byte("# kept\n"+twoProfiles), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownError
	if err := Remove(path, "nope"); !errors.As(err, &unknown) {
		t.Errorf("removing what is not there: %v", err)
	}
	for i, name := range f.Names() {
		if err := Remove(path, name); err != nil {
			t.Fatal(err)
		}
		after, err := Load(path)
		if err != nil || len(after.Profiles) != len(f.Profiles)-i-1 {
			t.Errorf("without %s there are %v, %v", name, after, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "# kept\n") || strings.Contains(string(text), "token") {
		t.Errorf("left %q, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}

func TestDefaultPath(t *testing.T) {
	t.Setenv("HOME", "/somewhere/else")
	if got, err := DefaultPath(); err != nil || got != "/somewhere/else/.influxdbv2/configs" {
		t.Errorf("got %q, %v", got, err)
	}
}

func mustDecode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	m, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "configs")
	w, err := NewWriter(path, "default", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(Profile{URL: "http://a", Token: "t", Org: "o", Active: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode is %v, %v", info.Mode(), err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Profile{Name: "default", URL: "http://a", Token: "t", Org: "o", Active: true}
	if p, ok, err := f.Active(); err != nil || !ok || p != want {
		t.Errorf("got %+v, %v", p, err)
	}

	var exists *ExistsError
	if _, err := NewWriter(path, "default", false); !errors.As(err, &exists) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := NewWriter(path, "list", false); err == nil {
		t.Error("took a name that influx can't use")
	}

	if p := w.Before(); p.Name != "" {
		t.Errorf("before the first profile, %+v was active", p)
	}

	// A symbolic link to the file is preserved, and an aborted write leaves nothing.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if w, err = NewWriter(link, "second", false); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = NewWriter(link, "second", false); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if p := w.Before(); p != want {
		t.Errorf("%+v is active, want %+v", p, want)
	}
	if err := w.Write(Profile{URL: "http://b"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// FuzzParse checks that any file yields profiles, or an error that repeats nothing of it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", twoProfiles, "[a]\ntoken = 1\n", "a = 1", "[a", "a.b.c = true", "[[a]]\n", "[a]\nactive = \"true\"\n", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		profiles, err := parse(data)
		if err != nil {
			return
		}
		for name, p := range profiles {
			if p.Name != name {
				t.Errorf("profile %q is named %q", name, p.Name)
			}
		}
		file := &File{Profiles: profiles}
		if p, ok, err := file.Active(); err == nil && ok && !reflect.DeepEqual(p, profiles[p.Name]) {
			t.Errorf("the active profile %+v is not one of the file", p)
		}
	})
}

// FuzzActivate: the profile is the only active one, and all else is kept.
func FuzzActivate(f *testing.F) {
	for _, s := range []string{twoProfiles, "a = { active = true }\n[new]\n", "[new]\nx = '''\nactive = true\n[new]\n'''\n", "[new]\n[new.b]\nactive = true\n", "[\"new\"]\nurl='x'", "[new] # x\r\nactive = true\r\n[a]\nprevious = true"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, old []byte) {
		before, err := parse(old)
		if _, ok := before["new"]; err != nil || !ok {
			return
		}
		text, err := activate(old, "new")
		if err != nil {
			t.Skip(err)
		}
		after, err := parse(text)
		if err != nil {
			t.Fatalf("%q became %q: %v", old, text, err)
		}
		for n, b := range before {
			b.Previous, b.Active = b.Active && n != "new", n == "new"
			if after[n] != b {
				t.Errorf("profile %q was %+v and is %+v", n, b, after[n])
			}
		}
		text, err = remove(text, "new")
		if err != nil {
			t.Skip(err)
		}
		if after, err = parse(text); err != nil || len(after) != len(before)-1 {
			t.Errorf("removed: %v, %v", after, err)
		}
	})
}

// FuzzAdd checks that an added profile exists and is the only active one, and that all
// others are preserved.
func FuzzAdd(f *testing.F) {
	for _, s := range []string{"", twoProfiles, "[new]\nactive=true\n", "a = { active = true }\n", "[a]\nx = '''\nactive = true\n[new]\n'''\n", "[a]\n[a.b]\nactive = true\n", "[\"a b\"]\nurl='x'", "# only a comment", "[a] # x\r\nactive = true\r\n", "[a]\nactive = true # yes\nprevious = true"} {
		f.Add([]byte(s), "new", "token")
	}
	f.Add([]byte(twoProfiles), "a.b \"c\"\n", "to\"ken\\")
	f.Fuzz(func(t *testing.T, old []byte, name, token string) {
		before, err := parse(old)
		if err != nil {
			return
		}
		p := Profile{URL: "http://new", Token: token, Org: "o", Active: true}
		text, err := add(old, name, p, true)
		if err != nil {
			t.Skip(err) // TOML can't represent it
		}
		after, err := parse(text)
		if err != nil {
			t.Fatalf("%q became %q: %v", old, text, err)
		}
		p.Name = name
		before[name] = p
		for n, b := range before {
			if n != name {
				b.Previous, b.Active = b.Active, false
			}
			if after[n] != b {
				t.Errorf("profile %q was %+v and is %+v", n, b, after[n])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d profiles became %d", len(before), len(after))
		}
	})
}
