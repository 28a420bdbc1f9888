package influxbolt

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	bolt "go.etcd.io/bbolt"
)

// InfluxDB OSS 2.x (branch main-2.x, commit 85b84f4) wrote the files in
// testdata, one with hashed tokens and one with --use-hashed-tokens=false. The
// JSON files list their contents.
var variants = []string{"hashed-tokens", "plain-tokens"}

// listing is such a JSON file.
type listing struct {
	Organizations []struct {
		ID          acl.ID
		Name        string
		Description string
		Secrets     map[string]string
	}
	Users []struct {
		ID       acl.ID
		Name     string
		Status   string
		Password *string
	}
	Tokens []struct {
		ID          acl.ID
		Token       string
		Org         acl.ID
		User        acl.ID
		Status      string
		Description string
		Permissions []struct {
			Action   acl.Action
			Resource struct {
				Type  acl.Type
				ID    acl.ID
				OrgID acl.ID
			}
		}
	}
	Memberships []struct {
		User acl.ID
		Org  acl.ID
		Role string
	}
}

func mustListing(tb testing.TB, variant string) listing {
	tb.Helper()
	var l listing
	b, err := os.ReadFile(filepath.Join("testdata", variant+".json"))
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func boltFile(variant string) string { return filepath.Join("testdata", variant+".bolt") }

func mustBytes(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustRead(tb testing.TB, path string) *Contents {
	tb.Helper()
	c, err := Read(path)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// mustCopy copies a file of testdata and returns the path of the copy.
func mustCopy(tb testing.TB, variant string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "influxd.bolt")
	if err := os.WriteFile(path, mustBytes(tb, boltFile(variant)), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// mustChange changes a bolt file in a way that InfluxDB could have.
func mustChange(tb testing.TB, path string, change func(bucket func(name string) *bolt.Bucket) error) {
	tb.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		return change(func(name string) *bolt.Bucket { return tx.Bucket([]byte(name)) })
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// hidden returns the texts that no report may contain: values, tokens,
// passwords and their hashes.
func hidden(l listing, c *Contents) []string {
	var out []string
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
	for _, t := range c.Tokens {
		if t.Hash != "" {
			out = append(out, t.Hash)
		}
	}
	for _, u := range c.Users {
		if u.Password != nil {
			out = append(out, string(u.Password))
		}
	}
	return out
}

// objects flattens contents, so that two can be compared object by object.
func objects(c *Contents) map[string]string {
	m := map[string]string{}
	put := func(kind string, key, v any) {
		k, _ := json.Marshal(key)
		b, _ := json.Marshal(v)
		m[kind+string(k)] = string(b)
	}
	for _, o := range c.Organizations {
		put("organization", o.ID, o)
	}
	for _, u := range c.Users {
		put("user", u.ID, u)
	}
	for _, x := range c.Members {
		put("member", []acl.ID{x.Organization, x.User}, x)
	}
	for _, t := range c.Tokens {
		put("token", t.ID, t)
	}
	for _, org := range slices.Sorted(maps.Keys(c.Secrets)) {
		for name, value := range c.Secrets[org] {
			put("secret", []string{org.String(), name}, value)
		}
	}
	return m
}
