package group

import (
	"math/bits"
	"slices"
)

// Revisions are the revisions of one state of a store, as defined by
// store.Reader. They restart with each Open.
type Revisions struct {
	all    uint64
	tables [4]*[64]uint64 // shared with earlier states where nothing changed
}

// FirstRevisions returns the revisions of the state that a store opens with.
func FirstRevisions() *Revisions { return new(Revisions).Next(&EveryTable) }

// Of returns the revision of the given tables, or of everything.
func (r *Revisions) Of(tables ...byte) uint64 {
	if len(tables) == 0 {
		return r.all
	}
	var latest uint64
	for _, t := range tables {
		latest = max(latest, r.tables[t>>6][t&63])
	}
	return latest
}

// Next returns the revisions after a change to the given tables.
func (r *Revisions) Next(changed *TableSet) *Revisions {
	out := *r
	out.all++
	for i, tables := range changed {
		if tables == 0 {
			continue
		}
		part := new([64]uint64)
		if r.tables[i] != nil {
			*part = *r.tables[i]
		}
		for ; tables != 0; tables &= tables - 1 {
			part[bits.TrailingZeros64(tables)] = out.all
		}
		out.tables[i] = part
	}
	return &out
}

// TableSet is a set of tables.
type TableSet [4]uint64

// EveryTable is the set of all tables.
var EveryTable = TableSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// Add adds table t.
func (s *TableSet) Add(t byte) { s[t>>6] |= 1 << (t & 63) }

// AddRange adds the tables of the keys in [from, to).
func (s *TableSet) AddRange(from, to []byte) {
	first, last := 0, 255
	if len(from) > 0 {
		first = int(from[0])
	}
	if len(to) > 0 {
		last = int(to[0])
	}
	if len(to) == 1 {
		last-- // to is the first key of its table
	}
	for t := first; t <= last; t++ {
		s.Add(byte(t))
	}
}

func (s *TableSet) has(t byte) bool { return s[t>>6]>>(t&63)&1 != 0 }

// hasAny reports whether s contains any of tables or, without tables, anything
// at all.
func (s *TableSet) hasAny(tables []byte) bool {
	if len(tables) == 0 {
		return *s != TableSet{}
	}
	return slices.ContainsFunc(tables, s.has)
}
