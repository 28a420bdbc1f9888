package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/server"
)

// boltFiles returns package influxbolt's files, which a real InfluxDB wrote, with their
// content.
const boltFiles = "../influxbolt/testdata"

func boltFile(variant string) string { return filepath.Join(boltFiles, variant+".bolt") }

// boltListing is the content of a bolt file, from the JSON file next to it.
type boltListing struct {
	Organizations []struct {
		ID, Name, Description string
		Secrets               map[string]string
	}
	Users []struct {
		ID, Name, Status string
		Password         *string
	}
	Tokens []struct {
		ID, Org, User, Token, Status, Description string
		Permissions                               []client.Permission
	}
	Memberships []struct {
		User, Org string
		Role      client.Role
	}
}

func mustBoltListing(t *testing.T, variant string) (l boltListing) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(boltFiles, variant+".json"))
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l boltListing) secrets() (n int) {
	for _, o := range l.Organizations {
		n += len(o.Secrets)
	}
	return n
}

// hidden lists texts that must never be shown.
func (l boltListing) hidden() (out []string) {
	for _, o := range l.Organizations {
		for _, v := range o.Secrets {
			if len(v) > 4 {
				out = append(out, v)
			}
		}
	}
	for _, t := range l.Tokens {
		out = append(out, t.Token)
	}
	for _, u := range l.Users {
		if u.Password != nil {
			out = append(out, *u.Password)
		}
	}
	return append(out, "$influxdb2", "$2a$")
}

func checkNothingShown(t *testing.T, l boltListing, shown string) {
	t.Helper()
	for _, s := range l.hidden() {
		if strings.Contains(shown, s) {
			t.Errorf("it shows %q", s)
		}
	}
}

func runImport(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	root := NewRootCommand()
	root.SetArgs(append([]string{"import", "influxdb"}, args...))
	root.SetOut(&out)
	root.SetErr(&log)
	if err = root.ExecuteContext(t.Context()); err != nil {
		printError(&log, err)
	}
	return out.String(), log.String(), err
}

// mustImport runs an import with --json and returns its report.
func mustImport(t *testing.T, args ...string) (r importResult) {
	t.Helper()
	stdout, stderr, err := runImport(t, append(args, "--json")...)
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &r)
	}
	if err != nil || stderr != "" {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	return r
}

// notes lists the notes on the objects.
func (r importResult) notes() (out []string) {
	for _, o := range r.Objects {
		if o.Note != "" {
			out = append(out, strings.Join([]string{o.Kind, o.ID + o.Organization, o.Name, o.Outcome, o.Note}, "|"))
		}
	}
	return out
}

// folderBytes returns all files of a folder, or none if it doesn't exist.
func folderBytes(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// serveFolder runs a server on a data folder, and returns its URL.
func serveFolder(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	c := config.New()
	err := errors.Join(c.Flags().Set("data-dir", dir), c.Flags().Set("http-bind-address", "127.0.0.1:0"))
	if err == nil {
		err = c.Load(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	logger, level := server.NewLogger(io.Discard, c)
	s, err := server.Start(t.Context(), c, logger, level)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return "http://" + s.Addr().String(), stop
}

func clientFor(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mayRead reports whether permissions let a token read the secrets of an
// organization.
func mayRead(permissions []client.Permission, org string) bool {
	for _, p := range permissions {
		r := p.Resource
		if p.Action == client.Read && r.Type == string(acl.Secrets) && r.ID == "" && (r.OrgID == "" || r.OrgID == org) {
			return true
		}
	}
	return false
}
