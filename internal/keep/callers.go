package keep

import (
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// callerCache remembers who is behind a token, and which organizations exist,
// for as long as nothing in the directory (organizations, users, tokens,
// memberships) has changed. Any change there, whatever it is, makes all of it
// forgotten.
type callerCache struct {
	directory atomic.Uint64 // counts the changes of the directory
	running   atomic.Int64  // transactions that change the directory, and that it has not counted yet
	doubts    atomic.Uint64 // counts those of them that failed, and may show later
	settled   atomic.Uint64 // those of doubts that have shown, or never will

	callers *gencache.Cache[record.Hash, knownCaller]
	orgs    *gencache.Cache[ID, uint64]      // the epoch in which an organization was seen
	refs    *gencache.Cache[string, seenRef] // what was meant by an ID or a name
	users   *gencache.Cache[ID, knownUser]
}

// knownUser is what a user's sessions may do.
type knownUser struct {
	epoch       uint64
	permissions acl.Set
}

func newCallerCache() *callerCache {
	return &callerCache{
		callers: gencache.New[record.Hash, knownCaller](10_000),
		orgs:    gencache.New[ID, uint64](10_000),
		refs:    gencache.New[string, seenRef](1_000),
		users:   gencache.New[ID, knownUser](1_000),
	}
}

type seenRef struct {
	id    ID
	epoch uint64
}

type knownCaller struct {
	epoch  uint64
	caller Caller
}

// epoch returns what something that is found out from now on must be put with, and
// what was found out before must have been put with to be used. It is read
// before the store is, so that a change in between makes the answer too old,
// never too new. It is 0, with which nothing is put or found, while somebody may
// have seen a change that is not counted yet, or will see one.
func (c *callerCache) epoch() uint64 {
	// In this order: whoever is no longer running has counted its doubt, and
	// what is settled was counted before.
	settled := c.settled.Load()
	if c.running.Load() > 0 || c.doubts.Load() != settled {
		return 0
	}
	return c.directory.Load() + 1
}

// changing is called by each transaction that changes the directory, before it
// does.
func (c *callerCache) changing() { c.running.Add(1) }

// changed is called when such a transaction has ended, before anybody is told
// so.
func (c *callerCache) changed() {
	c.directory.Add(1)
	c.running.Add(-1)
}

// forget makes everything be read from the store again.
func (c *callerCache) forget() { c.directory.Add(1) }

// settle is called when a change has succeeded that began when there were so
// many doubts. What was seen meanwhile may not be true any more.
func (c *callerCache) settle(doubts uint64) {
	for {
		settled := c.settled.Load()
		if settled >= doubts {
			return
		}
		c.directory.Add(1)
		if c.settled.CompareAndSwap(settled, doubts) {
			return
		}
	}
}

func (c *callerCache) get(h record.Hash, o Origin, now time.Time) (Caller, bool) {
	epoch := c.epoch()
	known, ok := c.callers.Get(h)
	if !ok || epoch == 0 || known.epoch != epoch {
		return Caller{}, false
	}
	// Of login tokens the parent's end counts too.
	if e := known.caller.until; !e.IsZero() && !now.Before(e) {
		return Caller{}, false
	}
	known.caller.Origin = o
	return known.caller, true
}

func (c *callerCache) put(h record.Hash, epoch uint64, caller Caller) {
	if epoch == 0 {
		return
	}
	caller.Origin = Origin{}
	c.callers.Put(h, knownCaller{epoch, caller})
}

// exists reports whether an organization was seen in that epoch.
func (c *callerCache) exists(org ID, epoch uint64) bool {
	seen, _ := c.orgs.Get(org)
	return epoch != 0 && seen == epoch
}

func (c *callerCache) found(org ID, epoch uint64) {
	if epoch != 0 {
		c.orgs.Put(org, epoch)
	}
}
