package httpapi

import (
	"sync"
)

// Budget is a resource that all requests share, such as bytes of memory. A
// token may hold as much as it leaves free: one token gets at most half of the
// budget, two get a third each, and some is always left for the next one. A
// user's tokens together leave at least a quarter free. All strangers together
// get at most a quarter, and one stranger's network gets part of that.
type Budget struct {
	total int64
	each  int64 // limit for one token

	mu   sync.Mutex
	used int64
	held map[holder]int64
}

// Account identifies the holder of a resource.
type Account struct {
	User, Token uint64 // zero for strangers
	Network     string // identifies a stranger
}

// Known reports whether the client is authenticated.
func (a Account) Known() bool { return a.User != 0 }

// holder is a token or a stranger's network; as a group, it is all tokens of a
// user, or all strangers.
type holder struct {
	account Account
	group   bool
}

func (a Account) holders() (one, group holder) {
	if a.Known() {
		a.Network = ""
	}
	return holder{a, false}, holder{Account{User: a.User}, true}
}

// NewBudget returns a budget. One token can hold at most each; 0 means no
// limit.
func NewBudget(total, each int64) *Budget {
	if each == 0 {
		each = total
	}
	return &Budget{total: total, each: each, held: make(map[holder]int64)}
}

// Take reserves n for an account, and reports whether it succeeded.
func (b *Budget) Take(a Account, n int64) bool {
	one, group := a.holders()
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.total - b.used - n
	alone, together := a.shares(free)
	if free < 0 || b.held[one]+n > min(alone, b.each) || b.held[group]+n > together {
		return false
	}
	b.used += n
	b.held[one] += n
	b.held[group] += n
	return true
}

// shares returns how much an account and its group can hold while so much is free.
func (a Account) shares(free int64) (alone, together int64) {
	if a.Known() {
		return free, 3 * free
	}
	return free / 16, free / 3
}

// Most returns the most that an account can ever hold, while nobody else holds any.
func (b *Budget) Most(a Account) int64 {
	if a.Known() {
		return min(b.total/2, b.each)
	}
	return min(b.total/17, b.each)
}

// Give returns n that Take reserved.
func (b *Budget) Give(a Account, n int64) {
	if n == 0 {
		return
	}
	one, group := a.holders()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	for _, h := range []holder{one, group} {
		if b.held[h] -= n; b.held[h] == 0 {
			delete(b.held, h)
		}
	}
}

// Used returns the amount in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Total returns the size of the budget.
func (b *Budget) Total() int64 { return b.total }
