package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/influxbolt"
	bolt "go.etcd.io/bbolt"
)

// TestImportInfluxDB imports files that a real InfluxDB wrote and serves the data. The
// old tokens and passwords work.
func TestImportInfluxDB(t *testing.T) {
	for _, variant := range []string{"hashed-tokens", "plain-tokens"} {
		t.Run(variant, func(t *testing.T) {
			l := mustBoltListing(t, variant)
			dir := filepath.Join(t.TempDir(), "data")
			args := []string{"--bolt-path", boltFile(variant), "--data-dir", dir}
			counts := func(n func(int) importCounts) map[string]importCounts {
				return map[string]importCounts{
					"organizations": n(len(l.Organizations)), "users": n(len(l.Users)), "memberships": n(len(l.Memberships)),
					"tokens": n(len(l.Tokens)), "secrets": n(l.secrets()),
				}
			}
			fresh := counts(func(n int) importCounts { return importCounts{New: n} })
			same := counts(func(n int) importCounts { return importCounts{Unchanged: n} })

			dry := mustImport(t, args...)
			if !maps.Equal(dry.Counts, fresh) || len(dry.Skipped) > 0 || dry.Applied || dry.Compared != nil || !dry.NewFolder {
				t.Errorf("a dry run says %+v", dry)
			}
			if files := folderBytes(t, dir); len(files) > 0 {
				t.Errorf("a dry run made %v", slices.Collect(maps.Keys(files)))
			}
			done := mustImport(t, append(args, "--apply")...)
			if !maps.Equal(done.Counts, fresh) || !slices.Equal(done.Objects, dry.Objects) || !done.Applied ||
				*done.Compared != (importCompared{Equal: l.secrets()}) || done.NewKey != filepath.Join(dir, "key") {
				t.Errorf("it did %+v", done)
			}
			if !slices.Equal(done.NotTaken, []string{"9 buckets"}) || len(done.notes()) != 3 {
				t.Errorf("it notes %q and %q", done.NotTaken, done.notes())
			}
			for _, more := range [][]string{nil, {"--apply"}} {
				if r := mustImport(t, append(args, more...)...); !maps.Equal(r.Counts, same) || r.NewFolder || len(r.notes()) > 0 {
					t.Errorf("a second time, with %q: %+v", more, r)
				}
			}
			stdout, stderr, err := runImport(t, args...)
			if err != nil || !strings.Contains(stdout, l.Tokens[0].ID) || !strings.Contains(stderr, "Nothing is new: nothing would change.") {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
			checkNothingShown(t, l, stdout+stderr)
			for path, content := range folderBytes(t, dir) {
				for _, s := range l.hidden() {
					if strings.Contains(content, s) {
						t.Errorf("%s holds %q", path, s)
					}
				}
			}
			url, stop := serveFolder(t, dir)
			defer stop()
			checkTakenOver(t, url, l)
		})
	}
}

// checkTakenOver compares a server's data with the bolt file's.
func checkTakenOver(t *testing.T, url string, l boltListing) {
	t.Helper()
	ctx := t.Context()
	operator := clientFor(t, url, l.Tokens[0].Token)
	if allowed, err := operator.SetupAllowed(ctx); allowed || err != nil {
		t.Errorf("it could be set up: %v", err)
	}
	for _, want := range l.Organizations {
		if got, err := operator.Organization(ctx, want.ID); err != nil || got.Name != want.Name || got.Description != want.Description {
			t.Errorf("organization %s is not as it was: %v", want.ID, err)
		}
		if v, _, err := operator.Values(ctx, want.ID, nil); err != nil || !maps.Equal(v.Secrets, want.Secrets) {
			t.Errorf("secrets of organization %s: %d of %d, %v", want.ID, len(v.Secrets), len(want.Secrets), err)
		}
		members, err := operator.Members(ctx, want.ID)
		if err != nil {
			t.Error(err)
		}
		var got, there []string
		for _, m := range members {
			got = append(got, m.ID+" "+string(m.Role))
		}
		for _, m := range l.Memberships {
			if m.Org == want.ID {
				there = append(there, m.User+" "+string(m.Role))
			}
		}
		slices.Sort(got)
		slices.Sort(there)
		if !slices.Equal(got, there) {
			t.Errorf("organization %s has %q, not %q", want.ID, got, there)
		}
	}
	for _, want := range l.Tokens {
		got, err := operator.Token(ctx, want.ID)
		if err != nil || got.OrgID != want.Org || got.UserID != want.User || string(got.Status) != want.Status ||
			got.Description != want.Description || !slices.Equal(got.Permissions, want.Permissions) {
			t.Errorf("token %s is not as it was: %v", want.ID, err)
		}
		checkToken(t, clientFor(t, url, want.Token), l, want.Status == "active", want.Permissions)
	}
	for _, u := range l.Users {
		if got, err := operator.User(ctx, u.ID); err != nil || got.Name != u.Name || string(got.Status) != u.Status {
			t.Errorf("user %s is not as it was: %v", u.ID, err)
		}
		if err := clientFor(t, url, "").SignIn(ctx, u.Name, "another password"); !errors.Is(err, client.ErrUnauthorized) {
			t.Errorf("%s signs in with any password: %v", u.Name, err)
		}
		if u.Password == nil {
			continue
		}
		session := clientFor(t, url, "")
		err := session.SignIn(ctx, u.Name, *u.Password)
		if err == nil {
			_, err = session.Me(ctx)
		}
		if (err == nil) != (u.Status == "active") {
			t.Errorf("%s, who is %s, signs in and is somebody: %v", u.Name, u.Status, err)
		}
	}
}

// checkToken reads what a token may read, and tries what it may not.
func checkToken(t *testing.T, c *client.Client, l boltListing, active bool, permissions []client.Permission) {
	t.Helper()
	for _, o := range l.Organizations {
		v, _, err := c.Values(t.Context(), o.ID, nil)
		if may := active && mayRead(permissions, o.ID); may != (err == nil) || may && !maps.Equal(v.Secrets, o.Secrets) {
			t.Errorf("a token that may %v reads of organization %s %d secrets, %v", may, o.ID, len(v.Secrets), err)
		}
	}
}

// TestImportInfluxDBRefuses imports files that can't be read. The error has one line, and
// nothing is written.
func TestImportInfluxDBRefuses(t *testing.T) {
	whole, err := os.ReadFile(boltFile("plain-tokens"))
	if err != nil {
		t.Fatal(err)
	}
	l := mustBoltListing(t, "plain-tokens")
	used := filepath.Join(t.TempDir(), "used")
	if r := mustImport(t, "--bolt-path", boltFile("hashed-tokens"), "--data-dir", used, "--apply"); r.Counts["tokens"].New == 0 {
		t.Fatal("nothing was imported")
	}
	before := folderBytes(t, used)
	none := filepath.Join(t.TempDir(), "none")
	path := filepath.Join(t.TempDir(), "influxd.bolt")
	flipped := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	refused := func(what string, want error) {
		t.Helper()
		for _, dir := range []string{used, none} {
			for _, apply := range []string{"--apply", "--apply=false"} {
				stdout, stderr, err := runImport(t, "--bolt-path", path, "--data-dir", dir, apply)
				if !errors.Is(err, want) {
					t.Errorf("%s: %v", what, err)
				}
				if first, _, _ := strings.Cut(stderr, "\n"); stdout != "" || !strings.HasPrefix(first, "fluxkeep: read "+path+": ") || strings.Count(stderr, "fluxkeep:") != 1 {
					t.Errorf("%s: %s%s", what, stdout, stderr)
				}
				checkNothingShown(t, l, stdout+stderr)
			}
		}
		if !maps.Equal(before, folderBytes(t, used)) || len(folderBytes(t, none)) > 0 {
			t.Fatalf("%s: something was written", what)
		}
	}
	refused("no file", fs.ErrNotExist)
	for _, c := range []struct {
		what    string
		content []byte
		want    error
	}{
		{"empty", nil, influxbolt.ErrForeign},
		{"text", bytes.Repeat([]byte("x"), 1<<17), influxbolt.ErrForeign},
		{"cut", whole[:50_000], influxbolt.ErrDamaged},
		{"cut in a page", whole[:8*4096+100], influxbolt.ErrDamaged},
		{"page number", flipped(12 * 4096), influxbolt.ErrDamaged},
		{"offset", flipped(12*4096 + 16 + 4), influxbolt.ErrDamaged},
		{"pages swapped", slices.Concat(whole[:3*4096], whole[4*4096:5*4096], whole[3*4096:4*4096], whole[5*4096:]), influxbolt.ErrDamaged},
	} {
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(c.what, c.want)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused("open elsewhere", influxbolt.ErrLocked)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := runImport(t, "--data-dir", none); err == nil || !strings.Contains(stderr, "--bolt-path is missing") {
		t.Errorf("no flag: %v", err)
	}
}

// TestImportInfluxDBIntoUsed imports into a server that already uses some of the names.
func TestImportInfluxDBIntoUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"--bolt-path", boltFile("plain-tokens"), "--data-dir", dir}
	l := mustBoltListing(t, "plain-tokens")
	url, stop := serveFolder(t, dir)
	setUp, err := clientFor(t, url, "").Setup(t.Context(), client.SetupRequest{
		Username: l.Users[0].Name, Org: l.Organizations[0].Name, Bucket: "none", Password: "battery staple",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, apply := range []string{"--apply", "--apply=false"} {
		if _, stderr, err := runImport(t, append(args, apply)...); !errors.Is(err, datadir.ErrLocked) || !strings.Contains(stderr, "hint: stop the server first") {
			t.Errorf("beside a server: %v\n%s", err, stderr)
		}
	}
	stop()

	stdout, stderr, err := runImport(t, append(args, "--apply")...)
	if err != nil {
		t.Fatal(err)
	}
	checkNothingShown(t, l, stdout+stderr)
	words := strings.Join(strings.Fields(stdout), " ")
	org, user, token := l.Organizations[0], l.Users[0], l.Tokens[0]
	for _, want := range []string{
		"organization " + org.ID + " " + org.Name + " conflict its name is that of organization ",
		"user " + user.ID + " " + user.Name + " conflict its name is that of user ",
		"member " + user.ID + " " + org.ID + " owner refused organization " + org.ID + " is not here",
		"token " + token.ID + " " + org.ID + " " + token.Description + " refused user " + user.ID + " is not here",
		"secret " + org.ID + " (9 secrets) refused organization " + org.ID + " is not here",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	if want := "Compared with the file by keyed hashes: 11 secrets equal, 0 different, 9 not here."; !strings.Contains(stderr, want) {
		t.Errorf("it does not say %q:\n%s", want, stderr)
	}
	again := mustImport(t, append(args, "--apply")...)
	if again.Counts["users"] != (importCounts{Unchanged: 4, Conflict: 1}) || again.total().New != 0 {
		t.Errorf("a second time: %+v", again.Counts)
	}
	// Existing users remain, and imported ones can sign in.
	url, stop = serveFolder(t, dir)
	defer stop()
	if me, err := clientFor(t, url, setUp.Auth.Token).Me(t.Context()); err != nil || me.Name != user.Name {
		t.Errorf("the token that was here is of %q, %v", me.Name, err)
	}
	if err := clientFor(t, url, "").SignIn(t.Context(), l.Users[1].Name, *l.Users[1].Password); err != nil {
		t.Error(err)
	}
}

// TestImportInfluxDBKeys imports with wrong keys for the folder.
func TestImportInfluxDBKeys(t *testing.T) {
	base := t.TempDir()
	dir, pass := filepath.Join(base, "data"), filepath.Join(base, "pass")
	args := []string{"--bolt-path", boltFile("plain-tokens"), "--data-dir", dir}
	with := func(more ...string) []string { return append(slices.Clone(args), more...) }
	if _, stderr, err := runImport(t, with("--passphrase-file", pass)...); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(stderr, pass) {
		t.Errorf("a passphrase that is not there, dry: %v %s", err, stderr)
	}
	if err := os.WriteFile(pass, []byte("correct horse battery staple"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := runImport(t, with("--apply", "--audit-log", "-")...); err == nil || !strings.Contains(stderr, "give the file") || len(folderBytes(t, dir)) > 0 {
		t.Errorf("an audit log that is a stream: %v", err)
	}
	if r := mustImport(t, with("--passphrase-file", pass, "--apply")...); r.total().New == 0 || r.NewKey != "" {
		t.Errorf("with a passphrase: %+v", r)
	}
	before := folderBytes(t, dir)
	for _, apply := range []string{"--apply", "--apply=false"} {
		if _, stderr, err := runImport(t, with(apply)...); err == nil || !strings.Contains(stderr, "key") {
			t.Errorf("without the passphrase: %v", err)
		}
	}
	if !maps.Equal(before, folderBytes(t, dir)) {
		t.Error("something was written")
	}
	if r := mustImport(t, with("--passphrase-file", pass)...); r.total().New != 0 {
		t.Errorf("a second time: %+v", r.Counts)
	}
}

// TestImportInfluxDBComparison checks that the command fails if imported data differs
// from the file.
func TestImportInfluxDBComparison(t *testing.T) {
	counts := map[string]importCounts{"secrets": {New: 2, Unchanged: 3, Different: 4}}
	for _, c := range []struct {
		compared *importCompared
		want     string
	}{
		{nil, ""}, // a dry run
		{&importCompared{Equal: 5, Different: 4}, ""},
		{&importCompared{Equal: 4, Different: 5}, "verification failed: 5 secrets should match the source, but only 4 do"},
		{&importCompared{Equal: 4, Different: 4, Missing: 1}, "verification failed: 5 secrets should match the source, but only 4 do"},
	} {
		err := (&importResult{Counts: counts, Compared: c.compared}).verify()
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%+v: %v", c.compared, err)
		}
	}
}
