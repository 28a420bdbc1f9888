package influxv2_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// newFaults returns a handler on a failing store.
func newFaults(tb testing.TB, o *keeptest.Options) (*keeptest.Faults, *api) {
	tb.Helper()
	f := keeptest.NewFaults(tb, o)
	h := influxv2.New(f.Kit.Keep, influxv2.Config{
		Version: "1.2.3", Started: time.Now(), Settings: func() map[string]any { return nil },
	})
	f.Handler = h
	f.Refused = func(a keeptest.Answer) error {
		var body struct{ Code, Message string }
		switch err := json.Unmarshal([]byte(a.Body), &body); {
		case a.Body == "": // a response to HEAD
		case err != nil:
			return err
		case body.Code != string(keep.CodeUnavailable) || body.Message == "":
			return errors.New("not InfluxDB's form of unavailable")
		}
		if a.Header.Get("X-Platform-Error-Code") != string(keep.CodeUnavailable) {
			return fmt.Errorf("X-Platform-Error-Code is %q", a.Header.Get("X-Platform-Error-Code"))
		}
		return nil
	}
	return f, &api{f.Kit, h}
}

// TestFlowsWithFaults replays the recorded flows and fails, one by one, each
// store operation of their requests.
func TestFlowsWithFaults(t *testing.T) {
	for _, recorded := range flows(t) {
		t.Run(recorded.Name, func(t *testing.T) {
			f, _ := newFaults(t, &keeptest.Options{Fresh: true})
			server := httptest.NewServer(f)
			defer server.Close()
			vars := map[string]string{}
			for i, s := range recorded.Steps {
				got := f.Try(t, s.Name, func() keeptest.Answer { return sent(s.send(t, server.Listener.Addr().String(), vars)) })
				right := answer{got.Status, got.Header, got.Body}
				s.capture(right, vars)
				if why := s.differs(right, vars); why != "" {
					t.Fatalf("step %d, %s: %s", i, s.Name, why)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%+v", f.Count())
		})
	}
}

func sent(a answer) keeptest.Answer {
	return keeptest.Answer{Status: a.status, Header: a.header, Body: a.body}
}

// TestRoutesWithFaults makes a successful request to each route and fails, one
// by one, each of its store operations.
func TestRoutesWithFaults(t *testing.T) {
	f, a := newFaults(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
	}})
	a.MustChange(t, keep.Change{Set: map[string]string{"k": "1", "l": "1"}})
	a.MustChange(t, keep.Change{Set: map[string]string{"k": "2"}})
	op := a.Operator(t, keep.InfluxDB)
	ann, err := a.CreateUser(t.Context(), op, "ann", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddMember(t.Context(), op, a.Org, ann.ID, keep.Owner); err != nil {
		t.Fatal(err)
	}
	bob, err := a.CreateUser(t.Context(), op, "bob", true)
	if err != nil {
		t.Fatal(err)
	}
	token := a.MustToken(t, keep.NewToken{Permissions: acl.Member(a.Org)})
	cookie := sessionOf(a)
	path := strings.NewReplacer("{orgID}", a.Org.String(), "{userID}", ann.ID.String(), "{authID}", token.ID.String(), "{secretID}", "k")
	// Paths and bodies that succeed where the pattern alone would not.
	bodies := a.bodyRoutes()
	own := a.Admin.String()
	bodies["POST /api/v2/orgs/{orgID}/members"] = `{"id":"` + bob.ID.String() + `"}`
	bodies["POST /api/v2/orgs/{orgID}/owners"] = `{"id":"` + bob.ID.String() + `"}`
	bodies["PATCH /api/v2/orgs/{orgID}/secrets"] = `{"k":"v","m":"w"}`
	bodies["POST /api/v2/orgs/{orgID}/secrets/delete"] = `{"secrets":["k","l"]}`
	bodies["PUT /api/v2/me/password"] = `{"password":"correct horse 2"}`
	bodies["PUT /api/v2/users/{userID}/password"] = `{"password":"correct horse 2"}`
	// These can't succeed: the server is set up, and nothing is pinned.
	fails := map[string]int{"POST /api/v2/setup": 422, "POST /api/v2/orgs/{orgID}/secrets/dismiss": 404}
	for _, r := range a.handler.Routes() {
		name := r.Method + " " + r.Pattern
		if r.Pattern == rotatePath || r.Pattern == compactPath {
			continue // maintenance in many steps, continued by the next call
		}
		target := path.Replace(r.Pattern)
		got := f.Try(t, name, func() keeptest.Answer {
			q := httptest.NewRequest(r.Method, target, strings.NewReader(bodies[name]))
			switch {
			case r.Pattern == "/api/v2/signin":
				q.SetBasicAuth("admin", a.Password)
			case strings.HasSuffix(r.Pattern, "/password") && r.Method == "PUT":
				q.URL.Path = strings.Replace(q.URL.Path, ann.ID.String(), own, 1)
				q.SetBasicAuth("admin", a.Password)
				q.Header.Set("Cookie", cookie)
			case r.Pattern == "/api/v2/signout":
				q.Header.Set("Cookie", cookie)
			default:
				q.Header.Set("Authorization", "Token "+a.OperatorToken)
			}
			return f.Record(q)
		})
		if want, known := fails[name]; known && got.Status != want || !known && got.Status >= http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
		f.Undo(t)
	}
	if got := f.Count(); got.Requests < 40 || got.Injected < 5*got.Requests && !testing.Short() {
		t.Errorf("only %+v", got)
	}
	t.Logf("%+v", f.Count())
}
