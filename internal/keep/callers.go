package keep

import (
	"sync"
	"sync/atomic"
	"time"
)

// callerCache remembers who is behind a token, for as long as nothing in the
// directory (organizations, users, tokens, memberships) has changed. Any
// change there, whatever it is, makes all of it forgotten.
type callerCache struct {
	directory atomic.Uint64 // counts the changes of the directory
	// doubts counts the changes of the directory that may show later, settled
	// those of them of which it is known that they have or never will.
	// While the two differ nothing is answered from here.
	doubts  atomic.Uint64
	settled atomic.Uint64
	// pending are changes that may be seen already and are not counted yet.
	// While there is one, somebody may have been told of it, so that nobody
	// may be answered from here any more.
	pending atomic.Int64
	mu      sync.RWMutex
	callers map[hash]knownCaller
	orgs    map[ID]uint64 // organizations that exist, and when that was seen
}

type knownCaller struct {
	directory uint64
	caller    Caller
}

const maxCallers = 10_000

// at returns what a caller that is found out from now on must be put with.
// It is read before the store is, so that a change in between makes the
// answer too old, never too new.
func (c *callerCache) at() uint64 { return c.directory.Load() + 1 }

// changed is called when a change of the directory is durable, before anybody
// is told that it is.
func (c *callerCache) changed() { c.directory.Add(1) }

// inDoubt is asked before directory is compared: if not, all changes that
// anybody can have seen by then are counted there.
func (c *callerCache) inDoubt() bool {
	return c.pending.Load() != 0 || c.settled.Load() != c.doubts.Load()
}

// settle is called when a change has succeeded that began when there were so
// many doubts. What was seen meanwhile may not be true any more.
func (c *callerCache) settle(doubts uint64) {
	for {
		settled := c.settled.Load()
		if settled >= doubts {
			return
		}
		c.changed()
		if c.settled.CompareAndSwap(settled, doubts) {
			return
		}
	}
}

func (c *callerCache) get(h hash, o Origin, now time.Time) (Caller, bool) {
	if c.inDoubt() {
		return Caller{}, false
	}
	c.mu.RLock()
	known, ok := c.callers[h]
	c.mu.RUnlock()
	if !ok || known.directory != c.at() {
		return Caller{}, false
	}
	// Of login tokens the parent's end counts too.
	if e := known.caller.until; !e.IsZero() && !now.Before(e) {
		return Caller{}, false
	}
	known.caller.Origin = o
	return known.caller, true
}

func (c *callerCache) put(h hash, at uint64, caller Caller) {
	caller.Origin = Origin{}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.callers == nil || len(c.callers) >= maxCallers {
		c.callers = make(map[hash]knownCaller)
	}
	c.callers[h] = knownCaller{at, caller}
}

// exists reports whether an organization is known to exist.
func (c *callerCache) exists(org ID) bool {
	if c.inDoubt() {
		return false
	}
	c.mu.RLock()
	seen := c.orgs[org]
	c.mu.RUnlock()
	return seen == c.at()
}

func (c *callerCache) found(org ID, at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.orgs == nil || len(c.orgs) >= maxCallers {
		c.orgs = make(map[ID]uint64)
	}
	c.orgs[org] = at
}

// alone is a store that nobody else changes, so that what this process has
// done is all that was done. When one of its changes has succeeded, what came
// of those that failed before it began does not change any more.
type alone interface{ Revision() uint64 }
