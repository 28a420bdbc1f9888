package pebblestore

import (
	"math/bits"
	"slices"
)

// revisions are the revisions of one state of the store, as defined by
// store.Reader. They restart with each Open.
type revisions struct {
	all    uint64
	tables [4]*[64]uint64 // shared with earlier states where nothing changed
}

// of returns the revision of the given tables, or of everything.
func (r *revisions) of(tables []byte) uint64 {
	if len(tables) == 0 {
		return r.all
	}
	var latest uint64
	for _, t := range tables {
		latest = max(latest, r.tables[t>>6][t&63])
	}
	return latest
}

// next returns the revisions after a change to the given tables.
func (r *revisions) next(changed *tableSet) *revisions {
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

// tableSet is a set of tables.
type tableSet [4]uint64

var everyTable = tableSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func (s *tableSet) add(t byte)      { s[t>>6] |= 1 << (t & 63) }
func (s *tableSet) has(t byte) bool { return s[t>>6]>>(t&63)&1 != 0 }

// hasAny reports whether s contains any of tables or, without tables, anything
// at all.
func (s *tableSet) hasAny(tables []byte) bool {
	if len(tables) == 0 {
		return *s != tableSet{}
	}
	return slices.ContainsFunc(tables, s.has)
}

// addRange adds the tables of the keys in [from, to).
func (s *tableSet) addRange(from, to []byte) {
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
		s.add(byte(t))
	}
}
