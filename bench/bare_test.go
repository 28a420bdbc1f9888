package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSharedFile checks that each acknowledged body is in the file exactly
// once and complete.
func TestSharedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bodies")
	handler, err := newBareFsync(file)
	if err != nil {
		t.Fatal(err)
	}
	const clients, each = 16, 50
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				w := httptest.NewRecorder()
				body := fmt.Sprintf("%d of %d\n", i, c)
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(body)))
				got, err := os.ReadFile(file)
				if err != nil || w.Code != http.StatusNoContent || bytes.Count(got, []byte("\n"+body))+btoi(bytes.HasPrefix(got, []byte(body))) != 1 {
					t.Errorf("%q was answered %d, but is not in the file exactly once (%v)", body, w.Code, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("some clients wait forever")
	}
	w := httptest.NewRecorder() // an empty body must not wait forever
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPatch, "/", nil))
	if got, err := os.ReadFile(file); err != nil || bytes.Count(got, []byte("\n")) != clients*each || w.Code != http.StatusNoContent {
		t.Errorf("%d lines, want %d (%v)", bytes.Count(got, []byte("\n")), clients*each, err)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestBareHTTP checks that the bare server sends the bytes it is compared
// with.
func TestBareHTTP(t *testing.T) {
	real := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Token t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-Influxdb-Build", "OSS")
		fmt.Fprint(w, `{"secrets":["a","b"]}`)
	}))
	defer real.Close()
	b := &bench{config: &config{}, folder: t.TempDir(), progress: t.Output()}
	if _, err := b.startBareHTTP(t.Context(), real.URL+"/list", nil); err == nil {
		t.Error("a refusal was accepted as an answer")
	}
	header := http.Header{"Authorization": {"Token t"}}
	bare, err := b.startBareHTTP(t.Context(), real.URL+"/list", header)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.stop()
	want, err := fetch(t.Context(), real.URL+"/list", header)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fetch(t.Context(), bare.url+"/other", nil)
	if err != nil || string(got.Body) != string(want.Body) || fmt.Sprint(got.Header) != fmt.Sprint(want.Header) {
		t.Errorf("got %v %s (%v), want %v %s", got.Header, got.Body, err, want.Header, want.Body)
	}
}
