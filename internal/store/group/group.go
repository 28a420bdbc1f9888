// Package group implements the part of Update that all stores share: the queue of
// waiting functions, and the group that runs them one after another on top of one state
// and collects their writes, so that a store can commit them together.
//
// It knows nothing about how a store commits, or where it reads from.
package group

import (
	"context"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A Group runs requests and holds their writes, which are on top of a base:
// the state that the group changes. It is for one goroutine.
type Group struct {
	// Few is the number of keys up to which a range is deleted key by key.
	Few int

	// MaxValue is the limit for the bytes of a key and its value. 0 is no limit.
	MaxValue int

	// Check, if not nil, is called after each function that has written. Its
	// error fails the function.
	Check func(ctx context.Context) error

	// Changed are the tables that the functions have written to.
	Changed TableSet

	writes   overlay
	tx       Tx
	members  []*Request // requests that have run
	deferred []store.Deferred
	before   int // number of deferred before the last function
}

// Len returns the number of requests in the group.
func (g *Group) Len() int { return len(g.members) }

// Size returns the approximate number of bytes that the group writes.
func (g *Group) Size() int { return g.writes.size() }

// Writes returns the number of keys and ranges that the group writes.
func (g *Group) Writes() int { return g.writes.dirty }

// Empty reports whether the group changes nothing.
func (g *Group) Empty() bool { return g.writes.empty() }

// Refuse adds r to the group with an error instead of running it.
func (g *Group) Refuse(r *Request, err error) {
	r.err = err
	g.members = append(g.members, r)
}

// Run runs the function of r on base and adds r to the group. If the function
// fails, its writes are undone at once. If it ends its goroutine, so does Run.
// Canceling a request has no effect once its function has run.
func (g *Group) Run(r *Request, base store.Reader) {
	returned := false
	defer func() {
		if !returned {
			// A function that ends its goroutine leaves nothing to recover,
			// and also ends this goroutine.
			r.panicked = recover()
			r.exited = r.panicked == nil
		}
		if !returned || r.err != nil {
			g.writes.rollback()
		} else {
			g.deferred = append(g.deferred, g.tx.deferred...)
		}
		g.tx.end()
		g.members = append(g.members, r)
	}()
	g.writes.mark()
	g.before = len(g.deferred)
	r.err, r.panicked, r.exited = nil, nil, false
	if !r.ran {
		r.err = r.ctx.Err()
	}
	if r.err == nil {
		g.tx.begin(g, base)
		r.ran = true
		if r.err = r.fn(&g.tx); r.err == nil && g.Check != nil && g.writes.written() {
			r.err = g.Check(r.ctx)
		}
	}
	returned = true
}

// Undo takes the last request that has run out of the group, with its writes,
// and returns it.
func (g *Group) Undo() *Request {
	g.writes.rollback()
	clear(g.deferred[g.before:])
	g.deferred = g.deferred[:g.before]
	r := g.members[len(g.members)-1]
	g.members = g.members[:len(g.members)-1]
	return r
}

// Deferred does the work that the changes of the group share.
func (g *Group) Deferred(base store.Reader) (err error) {
	if len(g.deferred) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: deferred work panicked: %v", p)
		}
		g.tx.end()
		clear(g.deferred)
		g.deferred = g.deferred[:0]
	}()
	g.tx.begin(g, base)
	return g.deferred[0].Commit(&g.tx, g.deferred[1:])
}

// Take returns the group's requests, for Answer, and empties the group.
func (g *Group) Take() []*Request {
	members := g.members
	g.members = nil
	g.writes.reset()
	g.Changed = TableSet{}
	clear(g.deferred)
	g.deferred = g.deferred[:0]
	return members
}

// Answer completes requests, with err if it is not nil and their functions ran.
func Answer(requests []*Request, err error) {
	for _, r := range requests {
		if err != nil && r.ran && r.panicked == nil && !r.exited {
			r.err = err
		}
		r.done <- struct{}{}
	}
}

// Ranges calls fn for each deleted range, in order. All keys of the base in it
// are deleted, and to is nil for the end of all keys.
func (g *Group) Ranges(fn func(from, to []byte) error) error {
	for _, h := range g.writes.hidden {
		if err := fn(h.from, h.to); err != nil {
			return err
		}
	}
	return nil
}

// Keys calls fn for each key that is set, or is deleted but in no deleted range,
// in order. Set keys may be in deleted ranges.
func (g *Group) Keys(fn func(key, value []byte, deleted bool) error) error {
	for n := g.writes.head.next[0]; n != nil; n = n.next[0] {
		if n.state == absent || n.state == deleted && g.writes.hides(n.key) != nil {
			continue
		}
		if err := fn(n.key, n.value, n.state == deleted); err != nil {
			return err
		}
	}
	return nil
}
