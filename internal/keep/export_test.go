package keep

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/crypto/bcrypt"
)

// LimitLogins changes how many login tokens of a token can be valid.
func (k *Keep) LimitLogins(children, logins int) {
	k.logins.maxChildren, k.logins.maxLogins = children, logins
}

// RemoveExpired removes expired objects now, without waiting for the background task.
func (k *Keep) RemoveExpired(ctx context.Context) error { return k.removeExpired(ctx) }

// TakeOver takes over records now, without waiting for the background task.
func (k *Keep) TakeOver(ctx context.Context) error { return k.takeOver(ctx) }

// FlushOutbox empties the outbox now, without waiting for the background task.
func (k *Keep) FlushOutbox(ctx context.Context) error { return k.flushOutbox(ctx) }

// SaveLastBackup does what Backup does when it is complete.
func (k *Keep) SaveLastBackup(ctx context.Context, at time.Time) { k.saveLastBackup(ctx, at) }

// DropCaches empties all caches.
func (k *Keep) DropCaches() {
	k.records.ClearCache()
	k.directory.ClearCache()
	k.maps.ClearCaches()
}

// SaveActivity does at once what k does once a minute.
func (k *Keep) SaveActivity(ctx context.Context) error { return k.saveActivity(ctx) }

// NoteReads is the part of a read that remembers the reader, n times.
func (k *Keep) NoteReads(c Caller, org ID, n int, names ...string) {
	read := lastRead{at: k.now()}
	for range n {
		k.activity.noteRead(&c, org, read, names)
	}
}

// RecentReads returns how many reads are in memory.
func (k *Keep) RecentReads() (n int) {
	for _, s := range k.activity.recent {
		n += len(s.reads)
	}
	return n
}

// ContainsNames reports whether a token for some patterns may create one for others.
func ContainsNames(own, patterns []string) bool {
	c := Caller{names: own}
	return c.containsNames(patterns)
}

// MatchName reports whether a name matches a pattern.
var MatchName = matchName

// DescribeKey names a record.
func DescribeKey(key string) string { return record.Describe([]byte(key)) }

// FillPasswordQueues makes all hashing and comparing of passwords fail until the
// returned function is called.
func (k *Keep) FillPasswordQueues() (empty func()) {
	for _, l := range []*lane{&k.passwords.known, &k.passwords.strangers} {
		l.queue.Add(maxWaitingPasswords)
	}
	return func() {
		for _, l := range []*lane{&k.passwords.known, &k.passwords.strangers} {
			l.queue.Add(-maxWaitingPasswords)
		}
	}
}

// HoldOwnersAuditSearches makes owners' searches of the audit log wait.
func (k *Keep) HoldOwnersAuditSearches(ctx context.Context) error {
	return k.auditSearches.owners.Acquire(ctx, maxAuditSearches)
}

// PlantToken stores a token that an import would refuse.
func (k *Keep) PlantToken(ctx context.Context, t ImportToken) error {
	return k.updateUnaudited(ctx, func(x *tx) error { return x.dir.ImportToken(t.Token, x.dir.ImportedHashes(t.Value, t.Hash)) })
}

// PasswordCosts returns the bcrypt costs of the comparisons for a wrong password.
func PasswordCosts(cost int, hashed []byte) ([]int, error) {
	p, err := newPasswords(cost)
	if err != nil {
		return nil, err
	}
	all := append([][]byte{hashed}, p.fillers(hashed)...)
	if len(hashed) == 0 {
		all = [][]byte{p.dummy}
	}
	var costs []int
	for _, h := range all {
		c, err := bcrypt.Cost(h)
		if err == nil {
			err = bcrypt.CompareHashAndPassword(h, []byte("wrong password"))
		}
		if err != bcrypt.ErrMismatchedHashAndPassword {
			return nil, err
		}
		costs = append(costs, c)
	}
	return costs, nil
}
