package keep

import (
	"sync/atomic"
	"time"
)

// callerCache remembers who is behind a token, and which organizations exist,
// for as long as nothing in the directory (organizations, users, tokens,
// memberships) has changed. Any change there, whatever it is, makes all of it
// forgotten.
type callerCache struct {
	directory atomic.Uint64 // counts the changes of the directory
	begun     atomic.Uint64 // the transactions that change the directory
	ended     atomic.Uint64 // those of them whose end directory has counted

	callers recent[hash, knownCaller]
	orgs    recent[ID, uint64]      // when an organization was seen
	refs    recent[string, seenRef] // what was meant by an ID or a name
}

type seenRef struct {
	id ID
	at uint64
}

type knownCaller struct {
	directory uint64
	caller    Caller
}

// at returns what something that is found out from now on must be put with.
// It is read before the store is, so that a change in between makes the
// answer too old, never too new.
func (c *callerCache) at() uint64 { return c.directory.Load() + 1 }

// atChange is at for who is in a transaction that writes, and so sees what
// others have not been told of. It returns 0, with which nothing may be put or
// asked for, while there is such a change of the directory.
func (c *callerCache) atChange() uint64 {
	ended := c.ended.Load() // first: each of them has begun
	if c.begun.Load() != ended {
		return 0
	}
	return c.at()
}

// changing is called by each transaction that changes the directory, before it
// does.
func (c *callerCache) changing() { c.begun.Add(1) }

// changed is called when such a transaction has ended, before anybody is told
// so.
func (c *callerCache) changed() {
	c.directory.Add(1)
	c.ended.Add(1)
}

func (c *callerCache) get(h hash, o Origin, now time.Time) (Caller, bool) {
	known, ok := c.callers.get(h)
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
	c.callers.put(h, knownCaller{at, caller})
}

// exists reports whether an organization was seen at that time.
func (c *callerCache) exists(org ID, at uint64) bool {
	seen, _ := c.orgs.get(org)
	return at != 0 && seen == at
}

func (c *callerCache) found(org ID, at uint64) {
	if at != 0 {
		c.orgs.put(org, at)
	}
}

func (c *callerCache) clear() {
	c.callers.clear()
	c.orgs.clear()
	c.refs.clear()
}

// alone is a store that nobody else changes, so that what this process has
// done is all that was done.
type alone interface{ Revision() uint64 }
