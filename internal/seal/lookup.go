package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// lookup computes keyed hashes. It pools HMAC states that have absorbed the
// key, because every request computes a hash, and setting up the state is half
// of the cost.
type lookup struct {
	spare sync.Pool // of *lookupState
}

type lookupState struct {
	mac  hash.Hash
	head []byte
	sum  []byte
}

func newLookup(key []byte) *lookup {
	return &lookup{spare: sync.Pool{New: func() any {
		return &lookupState{mac: hmac.New(sha256.New, key), sum: make([]byte, 0, sha256.Size)}
	}}}
}

// hash returns the HMAC-SHA256 of the length of purpose (8 bytes), purpose and
// the parts of name, truncated to 128 bits. The length makes the split between
// purpose and name unambiguous. With 128 bits, accidental collisions are out of
// reach: among 2³² names with one purpose, the probability is about 2⁻⁶⁵.
func (l *lookup) hash(purpose string, name ...[]byte) (h [16]byte) {
	full := l.full(purpose, name...)
	return [16]byte(full[:])
}

// full is hash before truncation.
func (l *lookup) full(purpose string, name ...[]byte) (h [sha256.Size]byte) {
	s := l.spare.Get().(*lookupState)
	s.head = binary.BigEndian.AppendUint64(s.head[:0], uint64(len(purpose)))
	s.head = append(s.head, purpose...)
	s.mac.Write(s.head)
	for _, part := range name {
		s.mac.Write(part)
	}
	s.sum = s.mac.Sum(s.sum[:0])
	copy(h[:], s.sum)
	s.mac.Reset()
	l.spare.Put(s)
	return h
}
