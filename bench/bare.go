package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Bare servers do nothing but one thing, and so show what the machine can do.
// They run as separate processes of this program.
const (
	bareHTTP  = "bare-http"  // always sends the same answer
	bareFsync = "bare-fsync" // appends each body to a file, durably
)

var bareServers = map[string]func(file string) (http.Handler, error){
	bareHTTP:  newBareHTTP,
	bareFsync: newBareFsync,
}

// serveBare runs a bare server.
func serveBare(ctx context.Context, newHandler func(string) (http.Handler, error), args []string) error {
	fs := flag.NewFlagSet("bare", flag.ContinueOnError)
	address := fs.String("address", "", "address to serve at")
	file := fs.String("file", "", "file with the answer, or to append to")
	if err := fs.Parse(args); err != nil {
		return err
	}
	handler, err := newHandler(*file)
	if err != nil {
		return err
	}
	s := &http.Server{Addr: *address, Handler: handler}
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (b *bench) startBare(ctx context.Context, kind, folder, file string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := start(kind, folder, "http://"+address, nil, program, kind, "-address", address, "-file", file)
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, "/", nil)
}

// answer is a server's response.
type answer struct {
	Header http.Header
	Body   []byte
}

// startBareHTTP starts a server that sends the same bytes that another server
// sent for a path.
func (b *bench) startBareHTTP(ctx context.Context, url string, header http.Header) (*process, error) {
	a, err := fetch(ctx, url, header)
	if err != nil {
		return nil, err
	}
	folder, err := b.newFolder(bareHTTP)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "answer")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return b.startBare(ctx, bareHTTP, folder, file)
}

func fetch(ctx context.Context, url string, header http.Header) (a answer, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	q.Header = header.Clone()
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return a, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return a, fmt.Errorf("GET %s: %s", q.URL.Path, r.Status)
	}
	a.Header = r.Header
	a.Header.Del("Date") // net/http adds its own
	a.Body, err = io.ReadAll(r.Body)
	return a, err
}

func newBareHTTP(file string) (http.Handler, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, err
	}
	a.Header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		w.Write(a.Body)
	}), nil
}

func (b *bench) startBareFsync(ctx context.Context) (*process, error) {
	folder, err := b.newFolder(bareFsync)
	if err != nil {
		return nil, err
	}
	return b.startBare(ctx, bareFsync, folder, filepath.Join(folder, "bodies"))
}

func newBareFsync(file string) (http.Handler, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	shared := newSharedFile(f)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // a readiness check
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = shared.append(body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}), nil
}

// sharedFile is a file that many clients append to concurrently. Those that
// arrive during a sync share the next one; a single client waits for nobody.
type sharedFile struct {
	file *os.File
	wake chan struct{} // has one element if there is a group to write

	mu   sync.Mutex
	next *group
}

// group is the data that one sync writes.
type group struct {
	text    []byte
	waiting int
	done    chan struct{} // closed when the data is durable or err is set
	err     error
}

func newSharedFile(f *os.File) *sharedFile {
	s := &sharedFile{file: f, wake: make(chan struct{}, 1), next: newGroup()}
	go s.write()
	return s
}

func newGroup() *group { return &group{done: make(chan struct{})} }

func (s *sharedFile) append(text []byte) error {
	s.mu.Lock()
	g := s.next
	g.text = append(g.text, text...)
	g.waiting++
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // another member of the group has
	}
	<-g.done
	return g.err
}

func (s *sharedFile) write() {
	for range s.wake {
		s.mu.Lock()
		g := s.next
		s.next = newGroup()
		s.mu.Unlock()
		if g.waiting == 0 {
			continue // its members were written with the previous group
		}
		if _, g.err = s.file.Write(g.text); g.err == nil {
			g.err = syncData(s.file)
		}
		close(g.done)
	}
}
