package web

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const (
	onceTime  = 10 * time.Minute
	onceLimit = 10_000
)

// onceResults remembers for each form that was sent where it led to, so that a form
// that is sent twice with the same content acts once. It is limited to recent
// forms.
type onceResults struct {
	now func() time.Time

	mu    sync.Mutex
	all   map[onceKey]*onceResult
	order []*onceResult // of those that succeeded, oldest first
}

// onceKey identifies a form of one user at one path, with its content. It is a hash,
// because what is remembered must not hold the memory of a request.
type onceKey [sha256.Size]byte

type onceResult struct {
	key      onceKey
	ended    time.Time
	done     chan struct{} // closed when the first one has been answered
	location string        // "" if it failed
}

func newOnceResults(now func() time.Time) *onceResults {
	return &onceResults{now: now, all: make(map[onceKey]*onceResult)}
}

// begin returns the result for a form, and whether the caller is the first to send
// it and must call end.
func (o *onceResults) begin(k onceKey) (r *onceResult, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget()
	if r, ok := o.all[k]; ok {
		return r, false
	}
	r = &onceResult{key: k, done: make(chan struct{})}
	o.all[k] = r
	return r, true
}

// forget removes the results that are too old, or too many.
func (o *onceResults) forget() {
	now := o.now()
	for len(o.order) > 0 && (len(o.order) > onceLimit || now.Sub(o.order[0].ended) > onceTime) {
		delete(o.all, o.order[0].key)
		o.order[0] = nil
		o.order = o.order[1:]
	}
}

// end sets the result. A form that failed can be sent again, and isn't remembered.
func (o *onceResults) end(r *onceResult, location string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.location, r.ended = strings.Clone(location), o.now(); location == "" {
		delete(o.all, r.key)
	} else {
		o.order = append(o.order, r)
		o.forget()
	}
	close(r.done)
}

// newOnceID returns the ID of a form.
func newOnceID() string { return rand.Text() }

// serveOnce serves a POST. If its form was already sent, it redirects to where that
// led.
func (c *call) serveOnce(r route) error {
	if c.form.get("once") == "" || !c.signedIn() {
		return r.serve(c)
	}
	key := c.form.key(c.identity(), c.r.URL.Path)
	for {
		result, first := c.once.begin(key)
		if first {
			defer func() { c.once.end(result, c.location) }() // also after a panic
			return r.serve(c)
		}
		select {
		case <-result.done:
		case <-c.ctx().Done():
			return &keep.Error{Code: keep.CodeUnavailable, Message: "the request was given up"}
		}
		if result.location != "" {
			return c.redirect(result.location)
		}
	}
}
