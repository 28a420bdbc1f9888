package vaultsource_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/vaultsource"
)

// answers are what a Vault answers, by method, path and query.
var answers = map[string]string{
	"LIST /v1/team/kv/metadata":         `{"data":{"keys":["flat","a/","sp ace"]}}`,
	"LIST /v1/team/kv/metadata/a":       `{"data":{"keys":["b/","b"]}}`,
	"LIST /v1/team/kv/metadata/a/b":     `{"data":{"keys":["c"]}}`,
	"GET /v1/team/kv/metadata/a/b":      `{"data":{"versions":{"2":{"created_time":"2024-01-02T00:00:00Z"},"10":{"created_time":"2024-01-10T00:00:00Z"},"9":{"created_time":"2024-01-09T00:00:00Z","destroyed":true}}}}`,
	"GET /v1/team/kv/data/a/b?2":        `{"data":{"data":{"old":"1"}}}`,
	"GET /v1/team/kv/data/a/b?10":       `{"data":{"data":{"text":"a\"b","number":1.50,"object":{"x": [1, null]},"null":null}}}`,
	"GET /v1/team/kv/metadata/sp%20ace": `{"data":{"versions":{"1":{"created_time":"2024-01-02T00:00:00Z"}}}}`,
	"GET /v1/team/kv/data/sp%20ace?1":   `not JSON but a canary`,
	"GET /v1/sys/health":                `{"cluster_id":"the cluster"}`,
}

func newSource(t *testing.T) *vaultsource.Source {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/health") && (r.Header.Get("X-Vault-Token") != "token" || r.Header.Get("X-Vault-Namespace") != "ns") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		key := r.Method + " " + r.URL.EscapedPath()
		if v := r.URL.Query().Get("version"); v != "" {
			key += "?" + v
		}
		answer, ok := answers[key]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	return &vaultsource.Source{Address: s.URL + "/", Token: "token", Namespace: "ns", Mount: "team/kv/", HTTP: s.Client()}
}

func TestPaths(t *testing.T) {
	got, err := newSource(t).Paths(t.Context())
	if want := []string{"a/b", "a/b/c", "flat", "sp ace"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestRead(t *testing.T) {
	s := newSource(t)
	got, err := s.Read(t.Context(), "a/b", 10)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	if got[0].Version != 2 || got[1].Version != 9 || got[2].Version != 10 || got[0].Created.Day() != 2 {
		t.Errorf("the versions are %+v", got)
	}
	if got[1].Secrets != nil {
		t.Errorf("the destroyed version has %v", got[1].Secrets)
	}
	want := map[string]string{"text": `a"b`, "number": "1.50", "object": `{"x":[1,null]}`, "null": "null"}
	if !reflect.DeepEqual(got[2].Secrets, want) || !reflect.DeepEqual(got[2].Encoded, []string{"null", "number", "object"}) {
		t.Errorf("got %+v", got[2])
	}
	if got, err := s.Read(t.Context(), "a/b", 1); err != nil || len(got) != 1 || got[0].Version != 10 {
		t.Errorf("the last version: %+v, %v", got, err)
	}
	if got, err := s.Read(t.Context(), "nope", 10); err != nil || got != nil {
		t.Errorf("a missing document: %v, %v", got, err)
	}
	if _, err := s.Read(t.Context(), "sp ace", 10); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("an answer that isn't JSON: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := newSource(t)
	s.Token = "s3cret"
	if _, err := s.Paths(t.Context()); !errors.Is(err, vaultsource.ErrDenied) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a wrong token: %v", err)
	}
	if id, err := s.Cluster(t.Context()); err != nil || id != "the cluster" {
		t.Errorf("the cluster is %q, %v", id, err)
	}
	for _, address := range []string{"", "http://", "http://user:s3cret@host", "%"} {
		s.Address = address
		if _, err := s.Paths(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("address %q: %v", address, err)
		}
	}
}

// TestEndlessLists checks that a server can't list folders or documents without end.
func TestEndlessLists(t *testing.T) {
	many := `{"data":{"keys":["a"` + strings.Repeat(`,"a"`, 1<<20) + `]}}`
	for name, answer := range map[string]string{"deep": `{"data":{"keys":["a/"]}}`, "wide": many} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
			defer s.Close()
			source := vaultsource.Source{Address: s.URL, Token: "token", Mount: "secret", HTTP: s.Client()}
			if paths, err := source.Paths(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
				t.Errorf("%d paths, %v", len(paths), err)
			}
		})
	}
}

// TestRedirect checks that a redirect isn't followed: it would take the token to another
// host.
func TestRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s with the token %q", r.Method, r.URL, r.Header.Get("X-Vault-Token"))
	}))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	source := vaultsource.Source{Address: s.URL, Token: "token", Mount: "secret", HTTP: http.DefaultClient}
	if _, err := source.Paths(t.Context()); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("redirected: %v", err)
	}
}
