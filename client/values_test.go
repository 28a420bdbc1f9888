package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// valuesServer serves the values of one organization as Fluxkeep does.
type valuesServer struct {
	mu       sync.Mutex
	version  int
	secrets  map[string]string
	changed  chan struct{}
	fail     int // number of requests to answer with 500
	status   int // if set, answers all requests
	requests []string
}

func newValuesServer(secrets map[string]string) *valuesServer {
	return &valuesServer{version: 1, secrets: secrets, changed: make(chan struct{})}
}

func (s *valuesServer) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = maps.Clone(s.secrets)
	s.secrets[name] = value
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *valuesServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *valuesServer) state() (etag string, secrets map[string]string, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.Quote(fmt.Sprint("v", s.version)), s.secrets, s.changed
}

func (s *valuesServer) refuses(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.URL.Query().Encode()+" "+r.Header.Get("If-None-Match"))
	if s.fail > 0 {
		s.fail--
		return 500
	}
	return s.status
}

func (s *valuesServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := s.refuses(r); status != 0 {
		w.WriteHeader(status)
		return
	}
	etag, secrets, changed := s.state()
	if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil && r.Header.Get("If-None-Match") == etag {
		select {
		case <-changed:
			etag, secrets, _ = s.state()
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(304)
		return
	}
	out := map[string]string{}
	for n, v := range secrets {
		if names := r.URL.Query()["name"]; names == nil || slices.Contains(names, n) {
			out[n] = v
		}
	}
	json.NewEncoder(w).Encode(out)
}

func TestValues(t *testing.T) {
	srv := newValuesServer(map[string]string{"a": "1", "b": "2"})
	c := newClient(t, srv)
	all, changed, err := c.Values(t.Context(), "o", nil)
	if err != nil || !changed || !maps.Equal(all.Secrets, map[string]string{"a": "1", "b": "2"}) {
		t.Fatalf("got %v, %v, %v", all, changed, err)
	}
	if v, changed, err := c.Values(t.Context(), "o", &client.ValuesQuery{ETag: all.ETag}); err != nil || changed || v.ETag != all.ETag || v.Secrets != nil {
		t.Errorf("unchanged: %v, %v, %v", v, changed, err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		srv.set("a", "3")
	}()
	v, changed, err := c.Values(t.Context(), "o", &client.ValuesQuery{ETag: all.ETag, Names: []string{"a", "x"}, Wait: time.Minute})
	if err != nil || !changed || !maps.Equal(v.Secrets, map[string]string{"a": "3"}) || v.ETag == all.ETag {
		t.Errorf("after a change: %v, %v, %v", v, changed, err)
	}
	want := []string{` `, ` "v1"`, `name=a&name=x&wait=1m0s "v1"`}
	if got := srv.asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestWatch(t *testing.T) {
	srv := newValuesServer(map[string]string{"a": "1", "b": "2"})
	srv.fail = 1
	c := newClient(t, srv)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan map[string]string)
	failed, recovered := 0, 0
	end := make(chan error)
	go func() {
		o := &client.WatchOptions{Names: []string{"a"}, Failed: func(error, time.Duration) { failed++ }, Recovered: func() { recovered++ }}
		end <- c.Watch(ctx, "o", o, func(v client.Values) error {
			seen <- v.Secrets
			if v.Secrets["a"] == "4" {
				return errors.New("enough")
			}
			return nil
		})
	}()
	expect := func(value string) {
		t.Helper()
		select {
		case got := <-seen:
			if !maps.Equal(got, map[string]string{"a": value}) {
				t.Fatalf("saw %v, want a = %s", got, value)
			}
		case <-ctx.Done():
			t.Fatal("saw nothing")
		}
	}
	expect("1")
	srv.set("a", "3")
	expect("3")
	srv.set("b", "another") // not watched
	srv.set("a", "4")
	expect("4")
	if err := <-end; err == nil || err.Error() != "enough" {
		t.Errorf("ended with %v", err)
	}
	if failed != 1 || recovered != 1 {
		t.Errorf("reported %d failures, %d recoveries", failed, recovered)
	}
}

func TestWatchEnds(t *testing.T) {
	srv := newValuesServer(nil)
	srv.status = 401
	err := newClient(t, srv).Watch(t.Context(), "o", nil, func(client.Values) error { return nil })
	if !errors.Is(err, client.ErrUnauthorized) {
		t.Errorf("refused: %v", err)
	}
	srv = newValuesServer(nil)
	c := newClient(t, srv)
	known, _, err := c.Values(t.Context(), "o", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = c.Watch(ctx, "o", &client.WatchOptions{Known: &known}, func(client.Values) error {
		t.Error("reported values that were already known")
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}
