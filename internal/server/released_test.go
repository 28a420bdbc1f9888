package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
)

// released is the content of a backup in testdata/backups. Its key file is in the same
// folder; both serve this test only.
type released struct {
	Operator string // a token
	Reader   string // another
	Org      string // an ID
	Password string // of the user ann
	// Answers to the operator's GET requests, by path, without parts that depend on
	// the server.
	Answers map[string]any
}

// releasedPaths are requested with the operator's token.
func releasedPaths(org string) []string {
	paths := []string{
		"/api/v2/orgs/" + org + "/secrets", "/api/v2/orgs/" + org + "/secrets/values", "/api/v2/orgs/" + org + "/secrets/history",
		"/api/v2/orgs", "/api/v2/users", "/api/v2/orgs/" + org + "/members", "/api/v2/orgs/" + org + "/owners",
		"/api/v2/authorizations", "/v1/secret/metadata/" + org,
	}
	for version := range 5 {
		paths = append(paths, fmt.Sprintf("/v1/secret/data/%s?version=%d", org, version))
	}
	return paths
}

func (ts *testServer) answers(t *testing.T, org string) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, path := range releasedPaths(org) {
		a := ts.do(t, "GET", path, "", "X-Vault-Token", ts.token)
		var body any
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		if m, ok := body.(map[string]any); ok {
			delete(m, "request_id")
		}
		out[path] = body
	}
	return out
}

// TestReleasedBackups restores a backup of each released format, and compares the
// server's answers with its content.
//
// With FLUXKEEP_WRITE_BACKUP, it writes a backup of the current format to that folder
// instead, for a release that changes the format.
func TestReleasedBackups(t *testing.T) {
	if dir := os.Getenv("FLUXKEEP_WRITE_BACKUP"); dir != "" {
		writeReleased(t, dir)
		return
	}
	for format := 1; format <= backup.Format; format++ {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) {
			from := filepath.Join("testdata", "backups", fmt.Sprint("format-", format))
			file, err := os.ReadFile(filepath.Join(from, "fluxkeep.backup"))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("fluxkeep backup %d\n", format); !bytes.HasPrefix(file, []byte(want)) {
				t.Fatalf("it does not begin with %q", want)
			}
			text, err := os.ReadFile(filepath.Join(from, "content.json"))
			if err != nil {
				t.Fatal(err)
			}
			var want released
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			// A key file that others can read, as in a repository, is refused.
			content, err := os.ReadFile(filepath.Join(from, "key"))
			if err != nil {
				t.Fatal(err)
			}
			key := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(key, content, 0o600); err != nil {
				t.Fatal(err)
			}
			ts := start(t, restored(t, file, "--key-file="+key), "--key-file="+key)
			ts.token, ts.org = want.Operator, want.Org
			got := ts.answers(t, want.Org)
			for path, answer := range want.Answers {
				if !reflect.DeepEqual(got[path], answer) {
					t.Errorf("%s is answered\n%v, want\n%v", path, got[path], answer)
				}
			}
			if len(got) != len(want.Answers) || len(got) < 14 {
				t.Errorf("%d answers, want %d", len(got), len(want.Answers))
			}
			ts.token = want.Reader
			if a := ts.do(t, "GET", ts.secrets()+"/values", ""); a.status != http.StatusOK {
				t.Errorf("the reader: %d %s", a.status, a.body)
			}
			if a := ts.do(t, "PATCH", ts.secrets(), `{"a":"b"}`); a.status != http.StatusUnauthorized {
				t.Errorf("the reader writes: %d %s", a.status, a.body)
			}
			q, err := http.NewRequestWithContext(t.Context(), "POST", ts.url+"/api/v2/signin", nil)
			if err != nil {
				t.Fatal(err)
			}
			q.SetBasicAuth("ann", want.Password)
			a, err := ts.client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			if a.StatusCode != http.StatusNoContent {
				t.Errorf("the password doesn't work: %d", a.StatusCode)
			}
			ts.stop(t)
			if _, err := datadir.Check(t.Context(), testConfig(t, ts.data.Path(), "--key-file="+key), failOnDamage(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// writeReleased writes a backup with records in every table.
func writeReleased(t *testing.T, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--key-file="+key)
	ts.setUp(t)
	do := func(status int, method, path, body string) map[string]any {
		t.Helper()
		a := ts.do(t, method, path, body, "X-Vault-Token", ts.token)
		if a.status != status {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		var out map[string]any
		if a.body != "" {
			if err := json.Unmarshal([]byte(a.body), &out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	do(204, "PATCH", ts.secrets(), `{"db":"first","smtp":"mail \"quoted\""}`)
	do(204, "PATCH", ts.secrets(), `{"db":"second","naïve ключ":"wert 値"}`)
	do(204, "DELETE", ts.secrets()+"/smtp", "")
	do(200, "PUT", "/v1/secret/data/"+ts.org, `{"data":{"db":"fourth","other":"`+string(bytes.Repeat([]byte("long "), 2000))+`"}}`)
	do(204, "POST", "/v1/secret/delete/"+ts.org, `{"versions":[2]}`)
	do(204, "POST", "/v1/secret/metadata/"+ts.org, `{"max_versions":7,"custom_metadata":{"owner":"ops"}}`)
	do(201, "POST", "/api/v2/orgs", `{"name":"second","description":"another"}`)
	bob := do(201, "POST", "/api/v2/users", `{"name":"bob"}`)
	do(201, "POST", "/api/v2/orgs/"+ts.org+"/members", `{"id":"`+bob["id"].(string)+`"}`)
	reader := do(201, "POST", "/api/v2/authorizations", `{"orgID":"`+ts.org+`","description":"reader","permissions":[
		{"action":"read","resource":{"type":"orgs","id":"`+ts.org+`"}},{"action":"read","resource":{"type":"secrets","orgID":"`+ts.org+`"}}]}`)
	content := released{Operator: ts.token, Reader: reader["token"].(string), Org: ts.org, Password: password, Answers: ts.answers(t, ts.org)}
	text, err := json.MarshalIndent(content, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"fluxkeep.backup": ts.backup(t), "content.json": append(text, '\n')} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
