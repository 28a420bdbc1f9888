package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// lookup computes keyed hashes. It keeps spare HMAC states, each with the key already absorbed, because a hash is part
// of every request and building the state is half of its cost.
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

// hash is HMAC-SHA256 over the length of purpose as 8 bytes, purpose and the parts of name, cut to 128 bits. The length in
// front makes the split between purpose and name unambiguous. 128 bits leave accidental collisions out of reach: among 2³² names of
// one purpose the probability is about 2⁻⁶⁵.
func (l *lookup) hash(purpose string, name ...[]byte) (h [16]byte) {
	full := l.full(purpose, name...)
	return [16]byte(full[:])
}

// full is hash before it is cut.
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
