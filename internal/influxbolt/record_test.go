package influxbolt

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	bolt "go.etcd.io/bbolt"
)

// known are the errors that a decoder can return. None contains text from the
// record.
var known = []error{errKey, errRecord, errOtherID, errPassword, errSecret, errNoToken, errHash, errMismatch}

// seed adds all records of a bucket in both files to the corpus, and damaged
// copies of some.
func seed(f *testing.F, bucket string) {
	f.Helper()
	n := 0
	for _, variant := range variants {
		db, err := bolt.Open(boltFile(variant), 0, &bolt.Options{ReadOnly: true})
		if err == nil {
			err = db.View(func(tx *bolt.Tx) error {
				return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
					n++
					f.Add(slices.Clone(k), slices.Clone(v))
					f.Add(slices.Clone(k[:len(k)-1]), slices.Clone(v))
					f.Add(slices.Clone(k), slices.Clone(v[:len(v)/2]))
					return nil
				})
			})
		}
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	if n == 0 {
		f.Fatalf("no seeds in %s", bucket)
	}
	f.Add([]byte("000000000000000a"), []byte(`{"id":"000000000000000A","name":"x","status":"","orgID":"1","permissions":[{}]}`))
	f.Add([]byte("000000000000000a"), []byte(`null`))
	f.Add([]byte(""), []byte(""))
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if err != nil && !slices.Contains(known, err) {
		t.Fatalf("unexpected error: %v", err)
	}
}

func FuzzOrganization(f *testing.F) {
	seed(f, bucketOrganizations)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		o, err := decodeOrganization(key, value)
		checkError(t, err)
		if err == nil && (!strings.EqualFold(o.ID.String(), string(key)) || o.Name == "" || !utf8.ValidString(o.Name+o.Description)) {
			t.Fatalf("%q: %+v", key, o)
		}
	})
}

func FuzzUser(f *testing.F) {
	seed(f, bucketUsers)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		u, err := decodeUser(key, value)
		checkError(t, err)
		if err == nil && (!strings.EqualFold(u.ID.String(), string(key)) || u.Name == "" || !utf8.ValidString(u.Name)) {
			t.Fatalf("%q: %+v", key, u)
		}
	})
}

func FuzzPassword(f *testing.F) {
	seed(f, bucketPasswords)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		id, hash, err := decodePassword(key, value)
		checkError(t, err)
		if err == nil && (id == 0 || string(hash) != string(value)) {
			t.Fatalf("%q: %v", key, id)
		}
	})
}

func FuzzMapping(f *testing.F) {
	seed(f, bucketMembers)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, err := decodeMapping(key, value)
		checkError(t, err)
		if err == nil && (m.User == 0 || m.Resource == 0 || m.Type == "") {
			t.Fatalf("%q: %+v", key, m)
		}
	})
}

func FuzzToken(f *testing.F) {
	seed(f, bucketTokens)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		token, unknown, err := decodeToken(key, value)
		checkError(t, err)
		for _, line := range unknown {
			if len(line) > 5*maxQuoted {
				t.Fatalf("the line has %d bytes", len(line))
			}
		}
		if err != nil {
			return
		}
		if token.User == 0 || token.Organization == 0 || (token.Value == "") == (token.Hash == "") {
			t.Fatalf("%q: %+v", key, token)
		}
		for _, p := range token.Permissions {
			if p.Valid() != nil {
				t.Fatalf("%q: %v", key, p)
			}
		}
	})
}

func FuzzSecret(f *testing.F) {
	seed(f, bucketSecrets)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		org, name, secret, err := decodeSecret(key, value)
		checkError(t, err)
		if err == nil && (org == 0 || name != string(key[idLength:]) || !utf8.ValidString(secret)) {
			t.Fatalf("%q: %v", key, org)
		}
	})
}

// TestTokenHashes uses the examples of InfluxDB's own tests.
func TestTokenHashes(t *testing.T) {
	for _, c := range []struct{ token, phc string }{
		{"c27cb2033ab304629d32e1dbcd0ca7186322d3be98af5dd4c329ab800ef85d73", "$influxdb2-sha256$kMrC1MoFhWvvKSgyqpMaLuo2O3LINv4_XByCSkfV9K0="},
		{"322be1195f22da43a88e5ef1e856b707d6b7d41a6068feec343decbc5d784e50", "$influxdb2-sha512$ffgzLTTAyWBDczT0kKzwLzLjlemQh6UiFvqIA0CPd-B7qgqAetWEuKRI9qOLeE4ak6mxcxwthyKUO40sHf5V5w=="},
	} {
		if !isHashOf(c.token, c.phc) || isHashOf(c.token+"x", c.phc) {
			t.Errorf("%s: the hash does not match", c.phc)
		}
		if v, h, err := decodeTokenValue("", c.phc); v != "" || h != c.phc || err != nil {
			t.Errorf("hash only: %q, %q, %v", v, h, err)
		}
		if v, h, err := decodeTokenValue(c.token, c.phc); v != c.token || h != "" || err != nil {
			t.Errorf("both: %q, %v", h, err)
		}
		// The hash of an empty token must not match everybody.
		for _, empty := range []string{"$influxdb2-sha256$47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", "$influxdb2-sha512$z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGlODJ6-SfaPg=="} {
			if _, _, err := decodeTokenValue("", empty); !errors.Is(err, errNoToken) {
				t.Errorf("hash of an empty token: %v", err)
			}
		}
		for what, bad := range map[string]string{"cut": c.phc[:len(c.phc)-4], "longer": c.phc + "AAAA", "other": strings.Replace(c.phc, "influxdb2", "influxdb3", 1)} {
			if _, _, err := decodeTokenValue("", bad); !errors.Is(err, errHash) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestPermissions(t *testing.T) {
	const id = acl.ID(0xa)
	for _, c := range []struct {
		in   string
		want acl.Permission
		bad  string
	}{
		{`{"action":"read","resource":{"type":"orgs","id":"000000000000000a"}}`, acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: id}}, ""},
		{`{"action":"write","resource":{"type":"buckets","orgID":"000000000000000a","id":null}}`, acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: "buckets", OrgID: id}}, ""},
		{`{"action":"write","resource":{"type":"secrets"}}`, acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets}}, ""},
		{`{"action":"write","resource":{"type":"secrets","orgID":"0000000000000000"}}`, acl.Permission{}, errPermission.Error()},
		{`{"action":"write","resource":{"type":"secrets","org":"000000000000000a"}}`, acl.Permission{}, errPermission.Error()},
		{`{"action":"write","resource":{"type":"` + strings.Repeat("x", 1000) + `"}}`, acl.Permission{}, `unknown resource type "` + strings.Repeat("x", maxQuoted) + `"…`},
		{`{"action":"","resource":{"type":""}}`, acl.Permission{}, `unknown resource type ""`},
	} {
		got, err := decodePermission([]byte(c.in))
		if got != c.want || (err == nil) != (c.bad == "") || (err != nil && err.Error() != c.bad) {
			t.Errorf("%.100s: %v, %v", c.in, got, err)
		}
	}
}
