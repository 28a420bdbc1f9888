package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// influxd is a real influxd that stores its secrets in the server.
type influxd struct {
	goClient
	orgID, bucket string
	url, token    string
}

// startInfluxd runs an influxd whose secrets are in a server, with a new data
// folder, and sets it up.
func startInfluxd(t *testing.T, s *server, path string) influxd {
	t.Helper()
	return startInfluxdWith(t, s, path, "--secret-store", "vault")
}

// startInfluxdWith runs an influxd with other flags.
func startInfluxdWith(t *testing.T, s *server, path string, flags ...string) influxd {
	t.Helper()
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, path, append(flags, "--http-bind-address", address)...)
	cmd.Env = append(cmd.Env, "VAULT_ADDR="+s.url+"/influxd", "VAULT_TOKEN="+s.token)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			for line := range strings.Lines(string(text)) {
				if !strings.Contains(line, "lvl=info") {
					t.Logf("influxd says: %s", line)
				}
			}
		}
		_ = log.Close()
	})
	anonymous := influxdb2.NewClient("http://"+address, "")
	eventually(t, "answer of influxd", func() bool {
		ok, err := anonymous.Ping(t.Context())
		return err == nil && ok
	})
	setup, err := anonymous.Setup(t.Context(), "admin", "password of influxd", "influxd's own", "metrics", 0)
	if err != nil {
		t.Fatal(err)
	}
	c := influxdb2.NewClientWithOptions("http://"+address, *setup.Auth.Token, influxdb2.DefaultOptions().SetHTTPRequestTimeout(60))
	return influxd{goClient{c, s}, *setup.Org.Id, "metrics", "http://" + address, *setup.Auth.Token}
}

// secretOf evaluates secrets.get in influxd.
func (i influxd) secretOf(t *testing.T, name string) (string, error) {
	t.Helper()
	return i.query(t, fmt.Sprintf(`
import "array"
import "influxdata/influxdb/secrets"
array.from(rows: [{_value: secrets.get(key: %q)}])`, name))
}

// query returns the last value of a query's result.
func (i influxd) query(t *testing.T, flux string) (value string, err error) {
	t.Helper()
	result, err := i.QueryAPI("influxd's own").Query(t.Context(), flux)
	if err != nil {
		return "", err
	}
	for result.Next() {
		value = fmt.Sprint(result.Record().Value())
	}
	return value, errors.Join(result.Err(), result.Close())
}

func (i influxd) wantNames(t *testing.T, want map[string]string) {
	t.Helper()
	got := i.secretNames(t, i.orgID)
	slices.Sort(got) // influxd does not, with this store
	if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("influxd lists %q, want the names of %q", got, want)
	}
	i.s.wantValues(want)
}

// TestInfluxd runs an unmodified influxd on the server: its API, queries, a
// task and a notification endpoint.
func TestInfluxd(t *testing.T) {
	t.Parallel()
	path := given(t, "FLUXKEEP_INFLUXD", "influxd")
	s := startSetUp(t)
	i := startInfluxd(t, s, path)
	s.orgID, s.org = i.orgID, i.orgID // adopted with the first write

	if got := i.secretNames(t, i.orgID); len(got) > 0 {
		t.Errorf("a new influxd lists %q", got)
	}
	want := map[string]string{s.secretName("db"): s.private("pw")}
	if err := i.patchSecrets(t, i.orgID, want); err != nil {
		t.Fatal(err)
	}
	i.wantNames(t, want)
	if got, err := i.secretOf(t, s.secretName("db")); err != nil || got != s.private("pw") {
		t.Errorf("secrets.get gives %q, %v", got, err)
	}
	if _, err := i.secretOf(t, s.secretName("none")); err == nil {
		t.Error("secrets.get of a missing secret succeeds")
	}

	i.adoption(t, want)
	i.concurrentPatches(t, want)
	i.deletion(t, want)
	i.task(t, want)
	i.deletedDocument(t, want)
	i.notificationEndpoint(t, want)
	i.massDeletion(t, want)
}

// TestExportToInfluxd takes secrets back to an influxd that stores them itself.
func TestExportToInfluxd(t *testing.T) {
	t.Parallel()
	path := given(t, "FLUXKEEP_INFLUXD", "influxd")
	s := startSetUp(t)
	name, value := s.secretName("back"), s.private("home")
	if err := s.client(s.token).SetSecrets(t.Context(), s.orgID, map[string]string{name: value}); err != nil {
		t.Fatal(err)
	}
	i := startInfluxdWith(t, s, path)
	cmd := command(t, t.TempDir(), program, "export", "influxdb", "--url", i.url, "--org-id", s.orgID, "--map", s.org+"=influxd's own", "--yes")
	cmd.Env = append(cmd.Env, "INFLUX_HOST="+s.url, "INFLUX_TOKEN="+s.token, "INFLUXDB_TOKEN="+i.token)
	output(t, cmd)
	if got, err := i.secretOf(t, name); err != nil || got != value {
		t.Errorf("secrets.get gives %q, %v", got, err)
	}
}

// adoption checks that the organization is named after its ID until it is renamed,
// which influxd doesn't notice.
func (i influxd) adoption(t *testing.T, want map[string]string) {
	adopted, err := i.s.operator().Organization(t.Context(), i.orgID)
	if err != nil || adopted.Name != i.orgID {
		t.Errorf("the adopted organization is %+v, %v", adopted, err)
	}
	name := i.s.private("adopted")
	i.s.fluxkeep("", "org", "update", i.orgID, "--name", name)
	i.s.org = name
	i.wantNames(t, want)
}

// deletion deletes one secret.
func (i influxd) deletion(t *testing.T, want map[string]string) {
	name := i.s.secretName("writer0")
	if err := i.APIClient().DeleteOrgsIDSecretsID(t.Context(), &domain.DeleteOrgsIDSecretsIDAllParams{OrgID: i.orgID, SecretID: name}); err != nil {
		t.Fatal(err)
	}
	delete(want, name)
	i.wantNames(t, want)
	if _, err := i.secretOf(t, name); err == nil {
		t.Error("secrets.get of a deleted secret succeeds")
	}
}

// concurrentPatches lets several writers read the same document and then write it.
func (i influxd) concurrentPatches(t *testing.T, want map[string]string) {
	for round := range 5 {
		var wg sync.WaitGroup
		for n := range writerCount {
			name, value := i.s.secretName(fmt.Sprint("writer", n)), i.s.private(fmt.Sprintf("%d-%d", n, round))
			want[name] = value
			wg.Go(func() {
				if err := i.patchSecrets(t, i.orgID, map[string]string{name: value}); err != nil {
					t.Errorf("writer %d, round %d: %v", n, round, err)
				}
			})
		}
		wg.Wait()
		i.wantNames(t, want)
	}
}

// task lets a task write a secret's value into a bucket, second after second,
// while the secret changes and the server crashes.
func (i influxd) task(t *testing.T, want map[string]string) {
	name := i.s.secretName("db")
	task, err := i.TasksAPI().CreateTaskByFlux(t.Context(), fmt.Sprintf(`
import "array"
import "influxdata/influxdb/secrets"
option task = {name: "copies a secret", every: 1s}
array.from(rows: [{_time: now(), _measurement: "m", _field: "f", _value: secrets.get(key: %q)}]) |> to(bucket: %q)`, name, i.bucket), i.orgID)
	if err != nil {
		t.Fatal(err)
	}
	written := func(value string) bool {
		got, err := i.query(t, fmt.Sprintf(`from(bucket: %q) |> range(start: -1h) |> last()`, i.bucket))
		return err == nil && got == value
	}
	eventually(t, "value that the task wrote", func() bool { return written(want[name]) })
	i.s.kill()
	eventually(t, "run of the task that fails", func() bool {
		runs, err := i.TasksAPI().FindRuns(t.Context(), task, nil)
		return err == nil && slices.ContainsFunc(runs, func(r domain.Run) bool { return r.Status != nil && *r.Status == domain.RunStatusFailed })
	})
	i.s.again()
	want[name] = i.s.private("pw after the crash")
	if err := i.patchSecrets(t, i.orgID, map[string]string{name: want[name]}); err != nil {
		t.Errorf("after the crash: %v", err)
	}
	eventually(t, "value that the task wrote after the crash", func() bool { return written(want[name]) })
	if err := i.TasksAPI().DeleteTask(t.Context(), task); err != nil {
		t.Error(err)
	}
	i.wantNames(t, want)
}

// deletedDocument deletes the document through Vault's protocol, and rolls back.
func (i influxd) deletedDocument(t *testing.T, want map[string]string) {
	history, err := i.s.operator().History(t.Context(), i.orgID)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.s.vault(i.s.token).KVv2("secret").Delete(t.Context(), i.orgID); err != nil {
		t.Fatal(err)
	}
	i.wantNames(t, nil)
	alone := map[string]string{i.s.secretName("alone"): i.s.private("v")}
	if err := i.patchSecrets(t, i.orgID, alone); err != nil {
		t.Errorf("after the deletion: %v", err)
	}
	i.wantNames(t, alone)
	i.s.fluxkeep("", "secret", "rollback", fmt.Sprint(history[0].Number), "--yes")
	i.wantNames(t, want)
	if got, err := i.secretOf(t, i.s.secretName("db")); err != nil || got != want[i.s.secretName("db")] {
		t.Errorf("after the rollback secrets.get gives %q, %v", got, err)
	}
}

// notificationEndpoint creates, changes and deletes a notification endpoint, whose
// token influxd also stores as a secret.
func (i influxd) notificationEndpoint(t *testing.T, want map[string]string) {
	endpoint := func(method, path, token string) (id string) {
		t.Helper()
		body := fmt.Sprintf(`{"type":"http","name":"hook","orgID":%q,"status":"active","url":"http://127.0.0.1:1","method":"POST","authMethod":"bearer","token":%q}`,
			i.orgID, token)
		q, err := http.NewRequestWithContext(t.Context(), method, i.HTTPService().ServerAPIURL()+"notificationEndpoints"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		var made struct{ ID string }
		if err := i.HTTPService().DoHTTPRequest(q, nil, func(r *http.Response) error {
			if r.StatusCode == http.StatusNoContent {
				return nil
			}
			return json.NewDecoder(r.Body).Decode(&made)
		}); err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	id := endpoint(http.MethodPost, "", i.s.private("token of the endpoint"))
	want[id+"-token"] = i.s.private("token of the endpoint")
	i.wantNames(t, want)
	endpoint(http.MethodPut, "/"+id, i.s.private("new token of the endpoint"))
	want[id+"-token"] = i.s.private("new token of the endpoint")
	i.wantNames(t, want)
	endpoint(http.MethodDelete, "/"+id, "")
	i.wantNames(t, want) // influxd doesn't delete the token
}

// massDeletion deletes more than half of all secrets, which pins the version before.
func (i influxd) massDeletion(t *testing.T, want map[string]string) {
	var most []string
	left := map[string]string{}
	for name, value := range want {
		if len(most) <= len(want)/2 {
			most = append(most, name)
		} else {
			left[name] = value
		}
	}
	if err := i.APIClient().PostOrgsIDSecrets(t.Context(), &domain.PostOrgsIDSecretsAllParams{
		OrgID: i.orgID, Body: domain.PostOrgsIDSecretsJSONRequestBody{Secrets: &most},
	}); err != nil {
		t.Fatal(err)
	}
	i.wantNames(t, left)
	history, err := i.s.operator().History(t.Context(), i.orgID)
	if err != nil {
		t.Fatal(err)
	}
	if !history[1].Pinned || len(history[0].Removed) != len(most) {
		t.Fatalf("the last two versions are %+v", history[:2])
	}
	pinned := fmt.Sprint(history[1].Number)
	i.s.fluxkeep("", "secret", "rollback", pinned, "--yes")
	i.wantNames(t, want)
	i.s.fluxkeep("", "secret", "unpin", pinned)
}
