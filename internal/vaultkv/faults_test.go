package vaultkv_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/vaultkv"
)

// newFaults returns a handler on a failing store.
func newFaults(t *testing.T, o *keeptest.Options) *keeptest.Faults {
	t.Helper()
	f := keeptest.NewFaults(t, o)
	f.Handler = vaultkv.New(f.Kit.Keep, vaultkv.Config{Version: "1.2.3", Started: f.Kit.Clock.Now()})
	f.Refused = func(a keeptest.Answer) error {
		var body struct{ Errors []string }
		if a.Body == "" {
			return nil // a response to HEAD
		}
		if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
			return err
		}
		if len(body.Errors) != 1 || !strings.HasPrefix(a.Body, `{"errors":[`) {
			return errors.New("not Vault's form of an error")
		}
		return nil
	}
	return f
}

// TestFlowsWithFaults replays the recorded flows and fails, one by one, each
// store operation of their requests.
func TestFlowsWithFaults(t *testing.T) {
	// Only engine, errors and influxd: the others are many variants of the
	// same changes, and would take minutes.
	eachFlow(t, "kv-[ei]*", func(t *testing.T, recorded *flow) {
		f := newFaults(t, nil)
		k := f.Kit
		op := k.Operator(t, keep.InfluxDB)
		vars := map[string]string{
			"user": k.Admin.String(), "org": k.Org.String(), "token": k.OperatorToken, "authID": op.Token.String(),
		}
		for i, step := range recorded.Steps[1:] { // the first is the setup
			got := f.Try(t, step.Name, func() keeptest.Answer {
				q := httptest.NewRequest(step.Request.Method, fill(step.Request.Target, vars), strings.NewReader(fill(step.Request.Body, vars)))
				for name, value := range step.Request.Headers {
					q.Header.Set(name, fill(value, vars))
				}
				return f.Record(q)
			})
			want := step.Response.Status
			if step.Instead != nil {
				want = step.Instead.Status
			}
			if got.Status != want {
				t.Fatalf("step %d, %s: status %d, want %d: %s", i+1, step.Name, got.Status, want, got.Body)
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%+v", f.Count())
	})
}

// TestRoutesWithFaults makes a successful request to each route and fails, one
// by one, each of its store operations.
func TestRoutesWithFaults(t *testing.T) {
	f := newFaults(t, nil)
	k := f.Kit
	for _, value := range []string{"1", "2", "3"} {
		k.MustChange(t, keep.Change{Set: map[string]string{"a": value, "b": "x"}})
	}
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org)})
	login, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{
		"POST secret/data":                `{"data":{"a":"4","c":"5"},"options":{"cas":3}}`,
		"PUT secret/data":                 `{"data":{"a":"4","c":"5"}}`,
		"PATCH secret/data":               `{"data":{"a":"4","b":null}}`,
		"POST secret/delete":              `{"versions":[2,3]}`,
		"PUT secret/delete":               `{"versions":[1]}`,
		"POST secret/undelete":            `{"versions":[2]}`,
		"PUT secret/undelete":             `{"versions":[3]}`,
		"POST secret/destroy":             `{"versions":[1,2]}`,
		"PUT secret/destroy":              `{"versions":[3]}`,
		"POST secret/metadata":            `{"max_versions":5}`,
		"PUT secret/metadata":             `{"cas_required":true}`,
		"PATCH secret/metadata":           `{"custom_metadata":{"k":"v"}}`,
		"POST auth/approle/login":         `{"role_id":"` + token.ID.String() + `","secret_id":"` + token.Value + `"}`,
		"PUT auth/approle/login":          `{"role_id":"` + token.ID.String() + `","secret_id":"` + token.Value + `"}`,
		"POST auth/token/lookup-accessor": `{"accessor":"` + login.ID.String() + `"}`,
		"PUT auth/token/lookup-accessor":  `{"accessor":"` + login.ID.String() + `"}`,
		"POST sys/capabilities-self":      `{"paths":["secret/data/x"]}`,
		"PUT sys/capabilities-self":       `{"paths":["secret/data/x"]}`,
	}
	routes := f.Handler.(*vaultkv.Handler).Routes()
	for _, r := range routes {
		target := strings.NewReplacer("{org...}", k.Org.String(), "auth/{path...}", "auth/token", "{path...}", "secret/data/x").Replace(r.Pattern)
		_, path, _ := strings.Cut(strings.TrimSuffix(r.Pattern, "/{org...}"), "/v1/")
		got := f.Try(t, r.Method+" "+r.Pattern, func() keeptest.Answer {
			q := httptest.NewRequest(r.Method, target, strings.NewReader(bodies[r.Method+" "+path]))
			if r.Method == "PATCH" {
				q.Header.Set("Content-Type", mergePatch)
			}
			q.Header.Set("X-Vault-Token", k.OperatorToken)
			if strings.HasPrefix(path, "auth/token/") {
				q.Header.Set("X-Vault-Token", login.Value)
			}
			return f.Record(q)
		})
		// A folder has no document, and a document has none below it.
		if r.Method == "LIST" && got.Status == 404 && strings.HasSuffix(r.Pattern, "{org...}") {
			f.Undo(t)
			continue
		}
		if bare := r.Method == "GET" && strings.HasPrefix(path, "secret/") && path != "secret/config" && !strings.Contains(r.Pattern, "{"); got.Status >= 300 && !bare {
			t.Errorf("%s %s: %d %s", r.Method, r.Pattern, got.Status, got.Body)
		}
		f.Undo(t)
	}
	if got := f.Count(); got.Requests != len(routes) || got.Injected < 5*got.Requests && !testing.Short() {
		t.Errorf("only %+v", got)
	}
	t.Logf("%+v", f.Count())
}
