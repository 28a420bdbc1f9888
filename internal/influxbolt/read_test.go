package influxbolt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/bcrypt"
)

func TestReadsEverything(t *testing.T) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			l, c := mustListing(t, variant), mustRead(t, boltFile(variant))
			if len(c.Skipped) != 0 {
				t.Errorf("skipped: %q", c.Skipped)
			}
			if c.Instance == 0 {
				t.Error("the InfluxDB's own ID was not read")
			}
			checkOrganizations(t, l, c)
			checkUsers(t, l, c)
			checkTokens(t, l, c, variant == "hashed-tokens")
			if len(c.Members) != len(l.Memberships) {
				t.Errorf("%d memberships, want %d", len(c.Members), len(l.Memberships))
			}
			for _, m := range l.Memberships {
				if !slices.Contains(c.Members, Member{m.Org, m.User, m.Role == "owner"}) {
					t.Errorf("%s of %s in %s is missing", m.Role, m.User, m.Org)
				}
			}
		})
	}
}

func checkOrganizations(t *testing.T, l listing, c *Contents) {
	t.Helper()
	if len(c.Organizations) != len(l.Organizations) {
		t.Fatalf("%d organizations, want %d", len(c.Organizations), len(l.Organizations))
	}
	for _, want := range l.Organizations {
		i := slices.IndexFunc(c.Organizations, func(o Organization) bool { return o.ID == want.ID })
		if i < 0 {
			t.Errorf("organization %s is missing", want.ID)
			continue
		}
		got := c.Organizations[i]
		if got.Name != want.Name || got.Description != want.Description || got.Created.Year() < 2020 || got.Updated.Before(got.Created) {
			t.Errorf("organization %s is %+v", want.ID, got)
		}
		if len(c.Secrets[want.ID]) != len(want.Secrets) {
			t.Errorf("organization %s: %d secrets, want %d", want.ID, len(c.Secrets[want.ID]), len(want.Secrets))
		}
		for name, value := range want.Secrets {
			if has, ok := c.Secrets[want.ID][name]; !ok || has != value {
				t.Errorf("secret %q of %s is missing or has a wrong value; found: %v", name, want.ID, ok)
			}
		}
	}
}

func checkUsers(t *testing.T, l listing, c *Contents) {
	t.Helper()
	if len(c.Users) != len(l.Users) {
		t.Fatalf("%d users, want %d", len(c.Users), len(l.Users))
	}
	for i, want := range l.Users {
		j := slices.IndexFunc(c.Users, func(u User) bool { return u.ID == want.ID })
		if j < 0 {
			t.Errorf("user %s is missing", want.ID)
			continue
		}
		got := c.Users[j]
		// The listing has the user made at setup first.
		if got.Name != want.Name || got.Active != (want.Status == "active") || got.Owner != (i == 0) {
			t.Errorf("user %s is %q, active %v, owner %v", want.ID, got.Name, got.Active, got.Owner)
		}
		if want.Password == nil {
			if got.Password != nil {
				t.Errorf("user %s has a password", want.ID)
			}
		} else if bcrypt.CompareHashAndPassword(got.Password, []byte(*want.Password)) != nil {
			t.Errorf("user %s has a wrong password", want.ID)
		}
	}
}

func checkTokens(t *testing.T, l listing, c *Contents, hashed bool) {
	t.Helper()
	if len(c.Tokens) != len(l.Tokens) {
		t.Fatalf("%d tokens, want %d", len(c.Tokens), len(l.Tokens))
	}
	for _, want := range l.Tokens {
		i := slices.IndexFunc(c.Tokens, func(t Token) bool { return t.ID == want.ID })
		if i < 0 {
			t.Errorf("token %s is missing", want.ID)
			continue
		}
		got := c.Tokens[i]
		if got.Organization != want.Org || got.User != want.User || got.Active != (want.Status == "active") || got.Description != want.Description {
			t.Errorf("token %s: organization %s, user %s, active %v", want.ID, got.Organization, got.User, got.Active)
		}
		if hashed && (got.Value != "" || !isHashOf(want.Token, got.Hash)) || !hashed && (got.Hash != "" || got.Value != want.Token) {
			t.Errorf("token %s is wrong", want.ID)
		}
		var permissions acl.Set
		for _, p := range want.Permissions {
			permissions = append(permissions, acl.Permission{Action: p.Action, Resource: acl.Resource{Type: p.Resource.Type, ID: p.Resource.ID, OrgID: p.Resource.OrgID}})
		}
		if !slices.Equal(got.Permissions, permissions) {
			t.Errorf("token %s has %v, want %v", want.ID, got.Permissions, permissions)
		}
	}
}

func TestReadChangesNothing(t *testing.T) {
	path := mustCopy(t, "plain-tokens")
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, path)
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !before.ModTime().Equal(after.ModTime()) || !bytes.Equal(mustBytes(t, path), mustBytes(t, boltFile("plain-tokens"))) {
		t.Error("the file was changed")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder contains %v, %v", entries, err)
	}
}

// TestLocked opens the file as influxd does.
func TestLocked(t *testing.T) {
	path := mustCopy(t, "plain-tokens")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	mustRead(t, path)
	// Opening it for writing waits for readers; Read does not.
	reader, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	mustRead(t, path)
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other.bolt")
	db, err := bolt.Open(other, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("tasks")); return err })
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := mustBytes(t, boltFile("plain-tokens"))
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"no file", filepath.Join(dir, "none"), fs.ErrNotExist},
		{"a folder", dir, ErrForeign},
		{"empty", file("empty", nil), ErrForeign},
		{"text", file("text", bytes.Repeat([]byte("not a bolt file\n"), 2000)), ErrForeign},
		{"zeros", file("zeros", make([]byte, 1<<17)), ErrForeign},
		{"from another program", other, ErrForeign},
		{"one page", file("one", whole[:4096]), ErrDamaged},
		{"both first pages", file("both", slices.Concat(make([]byte, 100), whole[100:4096], make([]byte, 100), whole[4196:])), ErrForeign},
	} {
		if _, err := Read(c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestDamagedRecordsAreNamed(t *testing.T) {
	const (
		org   = "8f112427532dd330"
		user  = "11ae70957d170000"
		token = "11ae7095aa170000"
		gone  = "1234567812345678"
	)
	sub := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %q to replace", old)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	to := func(new string) func(string) string { return func(string) string { return new } }
	for _, c := range []struct {
		name, bucket, key string
		change            func(string) string
		lost              string // the number and kind of missing objects
		told              string
	}{
		{"truncated organization", bucketOrganizations, org, to(`{"id":"` + org), "organization 1", "organization " + org + ": its record is damaged"},
		{"organization with a wrong ID", bucketOrganizations, org, sub(org, gone), "organization 1", "organization " + org + ": its record does not have the ID of its key"},
		{"organization without a name", bucketOrganizations, org, sub(`"name"`, `"nbme"`), "organization 1", "organization " + org + ": its record is damaged"},
		{"organization with a wrong name", bucketOrganizations, org, sub("org-plain", "org-plbin"), "", "organization " + org + ": imported as \"org-plbin-tokens-0\", which is not its name in InfluxDB's index"},
		{"not UTF-8", bucketOrganizations, org, sub("org-plain", "org-pl\xffin"), "organization 1", "organization " + org + ": its record is damaged"},
		{"a key that is no ID", bucketOrganizations, "nonsense", to("{}"), "", "a record of bucket organizationsv1: its key is not an ID"},
		{"user without a status", bucketUsers, user, sub(`"status"`, `"statuz"`), "user 1", "user " + user + ": its record is damaged"},
		{"user with an unknown status", bucketUsers, user, sub(`"active"`, `"actiwe"`), "user 1", "user " + user + ": its record is damaged"},
		{"user with a wrong name", bucketUsers, user, sub(`"user-`, `"uses-`), "", "user " + user + ": imported as \"uses-plain-tokens-1ü\", which is not its name in InfluxDB's index"},
		{"password hash", bucketPasswords, user, to("nonsense"), "", "user " + user + ": imported without a password: its hash is not a bcrypt hash, or has a higher cost than InfluxDB's"},
		{"costly password", bucketPasswords, user, sub("$10$", "$30$"), "", "user " + user + ": imported without a password: its hash is not a bcrypt hash, or has a higher cost than InfluxDB's"},
		{"membership", bucketMembers, org + user, sub("owner", "ovner"), "member 1", "membership of user " + user + " in " + org + ": its record is damaged"},
		{"membership elsewhere", bucketMembers, org + user, sub(org, gone), "member 1", "membership of user " + user + " in " + org + ": its record does not have the ID of its key"},
		{"bucket's owner", bucketMembers, gone + user, to(`{"userID":"` + user + `","userType":"owner","mappingType":"user","resourceType":"buckets","resourceID":"` + gone + `"}`), "", "1 membership in resources of type \"buckets\", which Fluxkeep does not have"},
		{"owner of the instance", bucketMembers, "0000000000000001" + gone, to(`{"userID":"` + gone + `","userType":"owner","mappingType":"user","resourceType":"instance","resourceID":"0000000000000001"}`), "", "user " + gone + ", who owns the instance, does not exist"},
		{"changed token", bucketTokens, token, sub("iYWFmC3N", "iYWFmC3M"), "token 1", "token " + token + ": it is not in InfluxDB's index, so InfluxDB refuses it too"},
		{"missing token", bucketTokens, token, sub(`"token"`, `"tokem"`), "token 1", "token " + token + ": its record has no token"},
		{"token with an unknown hash", bucketTokens, token, sub(`"status"`, `"hashedToken":"$argon2id$v=19$aaaa","status"`), "token 1", "token " + token + ": it has an unknown kind of hash"},
		{"token with a wrong hash", bucketTokens, token, sub(`"status"`, `"hashedToken":"$influxdb2-sha256$G8TaflZtPIqmWDcNLpVkF6qbNrJvL5BNuQGg20KmFis=","status"`), "token 1", "token " + token + ": it does not match its hash"},
		{"token without a user", bucketTokens, token, sub(`"userID"`, `"vserID"`), "token 1", "token " + token + ": its record is damaged"},
		{"token without a status", bucketTokens, token, sub(`"status"`, `"statur"`), "token 1", "token " + token + ": its record is damaged"},
		{"permission without its organization", bucketTokens, token, sub(`"secrets","orgID"`, `"secrets","orgIE"`), "", "token " + token + ": imported without 1 permission: damaged or unknown"},
		{"unknown resource type", bucketTokens, token, sub(`"type":"secrets"`, `"type":"cakes"`), "", "token " + token + ": imported without 1 permission: unknown resource type \"cakes\""},
		{"unknown action", bucketTokens, token, sub(`"action":"write"`, `"action":"eat"`), "", "token " + token + ": imported without 1 permission: damaged or unknown"},
		{"secret", bucketSecrets, org + "KEY_166076", sub("dmFs", "dm*s"), "secret 1", "secret \"KEY_166076\" of organization " + org + ": its value is damaged"},
		{"secret not UTF-8", bucketSecrets, org + "KEY_166076", to("/////w=="), "secret 1", "secret \"KEY_166076\" of organization " + org + ": its value is damaged"},
		{"secret without an organization", bucketSecrets, "KEY", to("dmFs"), "", "a record of bucket secretsv1: its key is not an ID"},
		{"secret with an escape sequence in its name", bucketSecrets, org + "\x1b[2J", to("*"), "", `secret "\x1b[2J" of organization ` + org + ": its value is damaged"},
		{"token for 1.x", legacyTokens, token, to("{}"), "", "1 token for the InfluxDB 1.x API, which Fluxkeep does not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := mustCopy(t, "plain-tokens")
			want := objects(mustRead(t, path))
			mustChange(t, path, func(bucket func(string) *bolt.Bucket) error {
				b := bucket(c.bucket)
				return b.Put([]byte(c.key), []byte(c.change(string(b.Get([]byte(c.key))))))
			})
			contents := mustRead(t, path)
			if !slices.Equal(contents.Skipped, []string{c.told}) {
				t.Errorf("reported %q, want %q", contents.Skipped, c.told)
			}
			got := objects(contents)
			lost := ""
			for name := range want {
				if _, ok := got[name]; !ok {
					kind, _, _ := strings.Cut(name, `"`)
					lost += strings.TrimRight(kind, "[") + " 1"
				}
			}
			if lost != c.lost || len(got) > len(want) {
				t.Errorf("lost %q, want %q; %d objects of %d", lost, c.lost, len(got), len(want))
			}
		})
	}
}

// TestLargeFile reads trees with branches, and values on several pages.
func TestLargeFile(t *testing.T) {
	path := mustCopy(t, "plain-tokens")
	const org = acl.ID(0x8f112427532dd330)
	value := strings.Repeat("long value ", 100_000)
	mustChange(t, path, func(bucket func(string) *bolt.Bucket) error {
		for i := range 20_000 {
			key := fmt.Sprintf("%snumber %06d", org, i)
			if err := bucket(bucketSecrets).Put([]byte(key), []byte(base64.StdEncoding.EncodeToString(fmt.Append(nil, i)))); err != nil {
				return err
			}
		}
		return bucket(bucketSecrets).Put([]byte(org.String()+"long"), []byte(base64.StdEncoding.EncodeToString([]byte(value))))
	})
	start := time.Now()
	c := mustRead(t, path)
	t.Logf("read in %v", time.Since(start))
	if len(c.Skipped) > 0 || len(c.Secrets[org]) != 20_006 || c.Secrets[org]["number 012345"] != "12345" || c.Secrets[org]["long"] != value {
		t.Errorf("%d secrets, skipped %q", len(c.Secrets[org]), c.Skipped)
	}
}

// TestOtherVersions reads files with buckets and fields that other versions
// add or lack.
func TestOtherVersions(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(tx *bolt.Tx) error
		told   []string
		others []string
		lost   string // the kind that is missing
	}{
		{"an unknown bucket", func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("cakesv7"))
			if err == nil {
				err = b.Put([]byte("cake"), []byte("\xff"))
			}
			return err
		}, nil, []string{"9 buckets"}, ""},
		{"a nested bucket", func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("cakesv7"))
			if err == nil {
				_, err = b.CreateBucket([]byte("inner"))
			}
			return err
		}, []string{`bucket "cakesv7": skipped: page 8: the bolt file is damaged: it contains another bucket`}, []string{"9 buckets"}, ""},
		{"no hashed index, no 1.x tokens", func(tx *bolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte(indexHashes)), tx.DeleteBucket([]byte(legacyTokens)))
		}, nil, []string{"9 buckets"}, ""},
		{"no token index", func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(indexTokens)) },
			[]string{"the file has no bucket authorizationindexv1: its records are missing"}, []string{"9 buckets"}, ""},
		{"no secrets", func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucketSecrets)) },
			[]string{"the file has no bucket secretsv1: its records are missing"}, []string{"9 buckets"}, "secret"},
		{"InfluxDB's other buckets", func(tx *bolt.Tx) error {
			return errors.Join(tx.Bucket([]byte("tasksv1")).Put([]byte("t"), []byte("{}")), tx.DeleteBucket([]byte("bucketsv1")))
		}, nil, []string{"1 task"}, ""},
		{"more fields", func(tx *bolt.Tx) error {
			for _, name := range []string{bucketOrganizations, bucketUsers, bucketTokens, bucketMembers} {
				b := tx.Bucket([]byte(name))
				records := map[string]string{}
				if err := b.ForEach(func(k, v []byte) error { records[string(k)] = string(v); return nil }); err != nil {
					return err
				}
				for k, v := range records {
					v = strings.ReplaceAll(v, `"orgID":"8`, `"org":"y","orgID":"8`)
					if err := b.Put([]byte(k), []byte(`{"color":{"red":[1]},`+v[1:])); err != nil {
						return err
					}
				}
			}
			return nil
		}, nil, []string{"9 buckets"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := mustCopy(t, "plain-tokens")
			want := objects(mustRead(t, path))
			db, err := bolt.Open(path, 0o600, nil)
			if err == nil {
				err = errors.Join(db.Update(c.change), db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			contents := mustRead(t, path)
			if !slices.Equal(contents.Skipped, c.told) || !slices.Equal(contents.Others, c.others) {
				t.Errorf("reported %q, others %q", contents.Skipped, contents.Others)
			}
			got := objects(contents)
			for name, is := range want {
				if now, ok := got[name]; now != is && (ok || c.lost == "" || !strings.HasPrefix(name, c.lost)) {
					t.Errorf("%s is missing or wrong", name)
				}
			}
		})
	}
}
