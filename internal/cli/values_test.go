package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// values is a server with only the route for values. The scripts test the real one.
type values struct {
	*httptest.Server

	mu      sync.Mutex
	version int
	secrets map[string]string
	changed chan struct{}
}

func newValues(t *testing.T, secrets map[string]string) *values {
	v := &values{version: 1, secrets: secrets, changed: make(chan struct{})}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *values) set(name, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[name] = value
	v.version++
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *values) state() (etag string, body []byte, changed chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	body, _ = json.Marshal(v.secrets)
	return fmt.Sprint("v", v.version), body, v.changed
}

func (v *values) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	etag, body, changed := v.state()
	if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil && r.Header.Get("If-None-Match") == etag {
		select {
		case <-changed:
			etag, body, _ = v.state()
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(body)
}
