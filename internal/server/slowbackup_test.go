package server

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
)

// stuckWriter is a client that reads nothing until it is resumed, or fails like a
// connection whose deadline has passed.
type stuckWriter struct {
	header  http.Header
	once    sync.Once
	stuck   chan struct{} // closed when the first bytes are waiting
	proceed chan error
	result  error

	mu       sync.Mutex
	taken    bytes.Buffer
	deadline time.Time
}

func newStuckWriter() *stuckWriter {
	return &stuckWriter{header: http.Header{}, stuck: make(chan struct{}), proceed: make(chan error, 1)}
}

func (w *stuckWriter) Header() http.Header { return w.header }
func (w *stuckWriter) WriteHeader(int)     {}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.once.Do(func() {
		close(w.stuck)
		w.result = <-w.proceed
	})
	if w.result != nil {
		return 0, w.result
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken.Write(p)
}

func (w *stuckWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return nil
}

// TestBackupToStuckClient checks that others can write and read while a client doesn't
// read its backup, which contains the state at the time of the request. A client that
// never reads is disconnected, and can't mistake half of the backup for all. (A
// compaction waits for the backup, since it promises that nobody can read what it
// removes.)
func TestBackupToStuckClient(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	ts.setUp(t)
	ts.putSecret(t, "before", "1")
	begin := func() (*stuckWriter, <-chan any) {
		w, done := newStuckWriter(), make(chan any, 1)
		t.Cleanup(func() { // if the test has failed
			select {
			case w.proceed <- errors.New("the test is over"):
			default:
			}
		})
		r := httptest.NewRequest("GET", backupPath, nil)
		r.Header.Set("Authorization", "Token "+ts.token)
		go func() {
			defer func() { done <- recover() }()
			ts.handler.ServeHTTP(w, r)
		}()
		<-w.stuck
		return w, done
	}
	records := func(w *stuckWriter) (n int) {
		t.Helper()
		err := backup.Read(&w.taken, func(backup.Header) (hash.Hash, error) { return nil, nil }, func(_, _ []byte) error { n++; return nil })
		if err != nil {
			t.Fatalf("read the backup: %v", err)
		}
		return n
	}
	first, firstDone := begin()
	if first.deadline.IsZero() {
		t.Error("the client has no deadline to read its backup")
	}
	for i := range 100 {
		ts.putSecret(t, fmt.Sprint("n", i), strings.Repeat("x", 10<<10))
	}
	if n := len(ts.names(t)); n != 101 {
		t.Errorf("%d names", n)
	}
	first.proceed <- nil
	if fault := <-firstDone; fault != nil {
		t.Errorf("the backup ended with %v", fault)
	}
	later, laterDone := begin()
	later.proceed <- nil
	<-laterDone
	if early, all := records(first), records(later); early >= all-100 {
		t.Errorf("the backup that began before 100 writes has %d records, the one after them %d", early, all)
	}
	dead, deadDone := begin()
	dead.proceed <- errors.New("i/o timeout")
	if fault := <-deadDone; fault != http.ErrAbortHandler {
		t.Errorf("the connection isn't closed: %v", fault)
	}
	if n := ts.handler.inFlight.Load(); n != 0 {
		t.Errorf("%d requests are in flight", n)
	}
	ts.stop(t)
}
