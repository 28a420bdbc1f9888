package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fluxSecretService is Flux's interface of a secret service
// (dependencies/secret, Service).
type fluxSecretService interface {
	LoadSecret(ctx context.Context, k string) (string, error)
}

var _ fluxSecretService = (*SecretService)(nil)

// kept is a server with values that a test can change.
type kept struct {
	mu       sync.Mutex
	version  int
	secrets  map[string]string
	requests []string
	gate     chan struct{} // if not nil, answers wait for it
}

func (k *kept) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	names := r.URL.Query()["name"]
	k.requests = append(k.requests, strings.Join(names, ",")+" "+r.Header.Get("If-None-Match"))
	gate := k.gate
	k.mu.Unlock()
	if gate != nil {
		<-gate
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	etag := fmt.Sprint("v", k.version)
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(304)
		return
	}
	out := map[string]string{}
	for n, v := range k.secrets {
		if slices.Contains(names, n) {
			out[n] = v
		}
	}
	json.NewEncoder(w).Encode(out)
}

func (k *kept) set(name, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets[name] = value
	k.version++
}

// take returns the requests since the last call.
func (k *kept) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.requests
	k.requests = nil
	return out
}

type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1e9, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func newService(t *testing.T, k *kept, o SecretServiceOptions) *SecretService {
	t.Helper()
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	return c.SecretService("o", &o)
}

func mustLoad(t *testing.T, s *SecretService, name, want string) {
	t.Helper()
	if got, err := s.LoadSecret(t.Context(), name); err != nil || got != want {
		t.Fatalf("%s: got %q, %v; want %q", name, got, err, want)
	}
}

func TestLoadSecret(t *testing.T) {
	k := &kept{version: 1, secrets: map[string]string{"a": "1", "b": "2", "empty": ""}}
	clock := &clock{}
	s := newService(t, k, SecretServiceOptions{MaxAge: time.Minute, now: clock.now})
	asked := func(want ...string) {
		t.Helper()
		if got := k.take(); !slices.Equal(got, want) {
			t.Fatalf("asked %q, want %q", got, want)
		}
	}

	mustLoad(t, s, "a", "1")
	mustLoad(t, s, "a", "1")
	asked("a ")
	mustLoad(t, s, "b", "2")
	mustLoad(t, s, "a", "1")
	asked("a,b ")
	mustLoad(t, s, "empty", "")
	for range 2 { // a missing name is cached too
		if _, err := s.LoadSecret(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("missing name: %v", err)
		}
	}
	asked("a,b,empty ", "a,b,empty,none ")

	clock.advance(time.Minute)
	mustLoad(t, s, "a", "1")
	mustLoad(t, s, "b", "2")
	asked("a,b,empty,none v1")

	k.set("a", "3")
	mustLoad(t, s, "a", "1") // may be as old as MaxAge
	clock.advance(time.Minute)
	mustLoad(t, s, "b", "2")
	mustLoad(t, s, "a", "3")
	asked("a,b,empty,none v1")

	if _, err := s.LoadSecret(t.Context(), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty name: %v", err)
	}
	asked()
}

func TestLoadSecretAlwaysAsks(t *testing.T) {
	k := &kept{version: 1, secrets: map[string]string{"a": "1"}}
	s := newService(t, k, SecretServiceOptions{MaxAge: -1})
	mustLoad(t, s, "a", "1")
	k.set("a", "2")
	mustLoad(t, s, "a", "2")
	mustLoad(t, s, "a", "2")
	if got := k.take(); len(got) != 3 {
		t.Errorf("asked %q", got)
	}
}

// TestLoadSecretBounded checks that a service with too many names starts over
// and still returns correct values.
func TestLoadSecretBounded(t *testing.T) {
	k := &kept{version: 1, secrets: map[string]string{}}
	for i := range 20 {
		k.secrets[fmt.Sprintf("%02d%s", i, strings.Repeat("x", 1000))] = fmt.Sprint(i)
	}
	s := newService(t, k, SecretServiceOptions{MaxAge: time.Hour})
	for name, value := range k.secrets {
		mustLoad(t, s, name, value)
	}
	for _, r := range k.take() {
		if len(r) > 2*maxAsked {
			t.Errorf("a request has %d bytes of names", len(r))
		}
	}
}

// TestLoadSecretOnce checks that concurrent loads share one request.
func TestLoadSecretOnce(t *testing.T) {
	k := &kept{version: 1, secrets: map[string]string{"a": "1"}, gate: make(chan struct{})}
	s := newService(t, k, SecretServiceOptions{MaxAge: time.Hour})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { mustLoad(t, s, "a", "1") })
	}
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.LoadSecret(waiting, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for another's request: %v", err)
	}
	close(k.gate)
	wg.Wait()
	if got := k.take(); len(got) > 2 { // the canceled request may have been first
		t.Errorf("asked %q", got)
	}
}

func TestLoadSecretFails(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
	defer srv.Close()
	c, err := New(Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := c.SecretService("o", nil)
	if _, err := s.LoadSecret(t.Context(), "a"); !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("got %v", err)
	}
}

func TestServiceWatch(t *testing.T) {
	k := &kept{version: 1, secrets: map[string]string{"a": "1", "b": "2"}}
	s := newService(t, k, SecretServiceOptions{MaxAge: time.Hour})
	mustLoad(t, s, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 9)
	end := make(chan error)
	go func() { end <- s.Watch(ctx, func() { changes <- struct{}{} }) }()
	k.set("b", "another") // was never loaded
	k.set("a", "3")
	select {
	case <-changes:
	case <-time.After(time.Minute):
		t.Fatal("no change was reported")
	}
	k.take()
	mustLoad(t, s, "a", "3")
	for _, r := range k.take() {
		if !strings.HasSuffix(r, " v3") {
			t.Errorf("asked %q for values that the watch had cached", r)
		}
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if len(changes) != 0 {
		t.Errorf("%d more changes were reported", len(changes))
	}
}
