package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestAttackImports imports an InfluxDB file that an attacker has modified, and
// then tries to use the result.
func TestAttackImports(t *testing.T) {
	const (
		recorded = "../internal/influxbolt/testdata/hashed-tokens"
		victim   = "125437dee433e04a" // an organization of the file
		other    = "b49d893aab9a01f4"
		root     = "11ae7094bf74b000" // the operator
		rootsOwn = "11ae7094ceb4b000" // token
		user     = "11ae7094d2f4b000"
	)
	content, err := os.ReadFile(recorded + ".bolt")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "influxd.bolt")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	hash := func(token string) string {
		sum := sha256.Sum256([]byte(token))
		return "$influxdb2-sha256$" + base64.URLEncoding.EncodeToString(sum[:])
	}
	fine, evil := "fine-"+randomWord(), "evil-"+randomWord()
	all := []object{}
	for _, typ := range []string{"secrets", "authorizations", "orgs", "users"} {
		all = append(all, both(typ, "", "")...)
	}
	tokens := []object{
		{"hashedToken": hash(fine), "permissions": both("secrets", "", victim), "orgID": victim},
		{"hashedToken": hash(""), "permissions": all}, {"hashedToken": hash(" "), "permissions": all}, {"hashedToken": hash("\x00"), "permissions": all},
		{"hashedToken": "", "permissions": all}, {"token": "", "permissions": all}, {"token": " ", "permissions": all}, {"token": "a\nb", "permissions": all},
		{"hashedToken": "$influxdb2-sha256$", "permissions": all}, {"hashedToken": "$influxdb2-sha256$e30=", "permissions": all}, {"hashedToken": "$influxdb2-sha512$x", "permissions": all},
	}
	for i, r := range [][]object{
		both("users", root, other), both("authorizations", rootsOwn, other), both("orgs", victim, other), both("users", root, absentID),
	} {
		tokens = append(tokens, object{"hashedToken": hash(fmt.Sprint(evil, i)), "permissions": r, "orgID": other})
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		put := func(bucket, key string, value any) {
			text, ok := value.(string)
			if !ok {
				b, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			}
			if err := tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		for i, a := range tokens {
			id := fmt.Sprintf("11ae70aa%08x", i+1)
			for k, v := range (object{"id": id, "status": "active", "userID": user, "orgID": other}) {
				if a[k] == nil {
					a[k] = v
				}
			}
			put("authorizationsv1", id, a)
			for field, index := range map[string]string{"token": "authorizationindexv1", "hashedToken": "authorizationhashedindexv1"} {
				if key, _ := a[field].(string); key != "" {
					put(index, key, id)
				}
			}
		}
		for i, name := range []string{"..", "a/../b", victim, strings.ToUpper(victim), "0a1b2c3d4e5f6789"} {
			id := fmt.Sprintf("11ae70bb%08x", i+1)
			put("organizationsv1", id, object{"id": id, "name": name})
		}
		for i, name := range []string{"a:b", "new\nline", "", "slow"} {
			id := fmt.Sprintf("11ae70cc%08x", i+1)
			put("usersv1", id, object{"id": id, "name": name, "status": "active"})
			put("userspasswordv1", id, "$2a$16$.SRy1wGqa9FM29Go5qGhfOglQ.RpPolkQJfiBn/LZ/NSXPnzaEIAe")
		}
		for _, name := range []string{"..", "a/../b", ""} {
			put("secretsv1", victim+name, base64.StdEncoding.EncodeToString([]byte("imported")))
		}
		return nil
	})
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}

	s := start(t)
	s.stop()
	said, err := exec.Command(program, "import", "influxdb", "--bolt-path", path, "--data-dir", s.dir, "--apply").CombinedOutput()
	report := string(said)
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	s.again()

	for _, path := range []string{"/api/v2/me", "/api/v2/orgs", "/api/v2/authorizations", "/v1/secret/data/" + victim, "/v1/auth/token/lookup-self"} {
		for _, h := range [][]string{
			nil, {"Authorization", ""}, {"Authorization", "Token"}, {"Authorization", "Token "}, {"Authorization", "Bearer "}, {"X-Vault-Token", ""}, {"X-Vault-Token", " "},
			{"Authorization", "Basic Og=="}, {"Cookie", "influxdb-oss-session="},
		} {
			if a := s.ask("GET", path, "", nil, h...); a.status != 401 && a.status != 403 {
				t.Errorf("%v with %q after the import:\n%s", a, h, report)
			}
		}
	}
	if a := s.ask("GET", "/v1/secret/data/"+victim, fine, nil); !a.ok() {
		t.Errorf("the valid token doesn't work: %v\n%s", a, report)
	}
	for i := range 4 {
		token := fmt.Sprint(evil, i)
		for _, r := range []struct {
			method, path string
			body         any
		}{
			{"POST", "/api/v2/users/" + root + "/password", object{"password": "battery staple"}}, {"PATCH", "/api/v2/users/" + root, object{"status": "inactive"}},
			{"GET", "/api/v2/authorizations/" + rootsOwn, nil}, {"PATCH", "/api/v2/authorizations/" + rootsOwn, object{"status": "inactive"}},
			{"PATCH", "/api/v2/orgs/" + victim, object{"name": "mine"}}, {"DELETE", "/api/v2/orgs/" + victim, nil},
		} {
			if a := s.ask(r.method, r.path, token, r.body); a.ok() {
				t.Errorf("%v with an imported token\n%s", a, report)
			}
		}
	}
	if s.signIn("slow", "anything") != "" {
		t.Error("a user with a costly hash signed in")
	}
	// The organization whose name is the victim's ID is not the victim.
	var listing struct{ Tokens []struct{ ID, Token string } }
	text, err := os.ReadFile(recorded + ".json")
	if err != nil || json.Unmarshal(text, &listing) != nil {
		t.Fatal(err)
	}
	for _, known := range listing.Tokens {
		if known.ID != rootsOwn {
			continue
		}
		if a := s.ask("GET", "/api/v2/authorizations/"+rootsOwn, known.Token, nil); !a.ok() {
			t.Errorf("the operator's token doesn't work: %v", a)
		}
		for _, id := range []string{victim, strings.ToUpper(victim)} {
			if a := s.ask("GET", "/v1/secret/data/"+id, known.Token, nil); !strings.Contains(a.body, "KEY_") && !strings.Contains(a.body, "imported") {
				t.Errorf("%v: not the victim's secrets", a)
			}
		}
		if a := s.ask("GET", "/v1/secret/data/0a1b2c3d4e5f6789", known.Token, nil); a.status != 404 {
			t.Errorf("%v: an organization was found by a name that looks like an ID", a)
		}
	}
}
