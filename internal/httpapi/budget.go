package httpapi

import (
	"net/netip"
	"strings"
	"sync"
)

// Budget is an amount of something that all requests share, such as bytes of
// memory. A token may hold as much as it leaves free, so one token gets half
// of the budget, two a third each, and there is always something left for the
// next one. A user's tokens together leave at least a quarter. Strangers
// together get at most a quarter, and one of their networks a part of that.
type Budget struct {
	total int64
	each  int64 // most that one token holds

	mu   sync.Mutex
	used int64
	held map[holder]int64
}

// Account says on whose behalf something is held.
type Account struct {
	User, Token uint64 // zero for strangers
	Network     string // what counts as one client among strangers
}

// Known reports whether it is known who the client is.
func (a Account) Known() bool { return a.User != 0 }

// holder is a token, a stranger's network, or, as a group, the tokens of a
// user or all strangers.
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

// NewBudget makes a budget. One token holds at most each, unless that is 0.
func NewBudget(total, each int64) *Budget {
	if each == 0 {
		each = total
	}
	return &Budget{total: total, each: each, held: make(map[holder]int64)}
}

// Take holds n on behalf of an account, and reports whether it may.
func (b *Budget) Take(a Account, n int64) bool {
	one, group := a.holders()
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.total - b.used - n
	alone, together := free, 3*free
	if !a.Known() {
		alone, together = free/16, free/3
	}
	if free < 0 || b.held[one]+n > min(alone, b.each) || b.held[group]+n > together {
		return false
	}
	b.used += n
	b.held[one] += n
	b.held[group] += n
	return true
}

// Give returns what was taken.
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

// Used returns how much is held.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Total returns how much there is.
func (b *Budget) Total() int64 { return b.total }

// Network returns what counts as one client of an address: the address, or
// the network of 64 bits of an IPv6 address, since one client has all of it.
func Network(address string) string {
	if !strings.Contains(address, ":") {
		return address
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
