package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/crypto/bcrypt"
)

// RemoveExpired does at once what k does now and then.
func (k *Keep) RemoveExpired(ctx context.Context) error { return k.removeExpired(ctx) }

// TakeOver does at once what k does now and then if it leads.
func (k *Keep) TakeOver(ctx context.Context) error { return k.takeOver(ctx) }

// FlushOutbox does at once what k does every second.
func (k *Keep) FlushOutbox(ctx context.Context) error { return k.flushOutbox(ctx) }

// DropCaches makes k read everything from the store again.
func (k *Keep) DropCaches() {
	k.records.ClearCache()
	k.directory.ClearCache()
	k.maps.ClearCaches()
}

// ContainsNames reports whether a token for some patterns may make one for others.
func ContainsNames(own, patterns []string) bool {
	c := Caller{names: own}
	return c.containsNames(patterns)
}

// MatchName reports whether a name fits a pattern.
var MatchName = matchName

// DescribeKey names a record.
func DescribeKey(key string) string { return record.Describe([]byte(key)) }

// FillPasswordQueues makes every attempt to hash or compare a password fail
// until the returned function is called.
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

// PlantToken stores a token that an import would refuse.
func (k *Keep) PlantToken(ctx context.Context, t ImportToken) error {
	return k.updateUnaudited(ctx, func(x *tx) error { return x.dir.ImportToken(t.Token, x.dir.ImportedHashes(t.Value, t.Hash)) })
}

// PasswordCosts returns the bcrypt costs of what is compared for a wrong
// password.
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
