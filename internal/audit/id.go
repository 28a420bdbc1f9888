package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"
)

// ID identifies a record permanently: each ID is in the log only once.
type ID [16]byte

// String formats the ID as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the ID as written in a line.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText parses the text from MarshalText.
func (id *ID) UnmarshalText(text []byte) error {
	if !decodeHex(id[:], text) {
		return fmt.Errorf("audit: a record's ID is %d lower-case hexadecimal digits", 2*len(id))
	}
	return nil
}

// IDSource generates IDs. It is safe for concurrent use.
type IDSource struct {
	prefix  [10]byte
	counter atomic.Uint64
}

// NewIDs returns a source whose IDs differ from those of every other source:
// each starts with the second in which the source was created and 48 random
// bits. IDs from one source, and from sources created one after the other, are
// in ascending byte order, so keys made from them are in chronological order.
func NewIDs() *IDSource {
	s := new(IDSource)
	binary.BigEndian.PutUint32(s.prefix[:4], uint32(time.Now().Unix()))
	rand.Read(s.prefix[4:]) // never fails
	return s
}

// Next returns a new ID.
func (s *IDSource) Next() ID {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], s.counter.Add(1))
	var id ID
	copy(id[:], s.prefix[:])
	copy(id[len(s.prefix):], counter[2:])
	return id
}

// decodeHex decodes text into dst. The text must have the exact length and be
// in lower case, so that each value has only one spelling.
func decodeHex(dst, text []byte) bool {
	if len(text) != 2*len(dst) || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(dst, text)
	return err == nil
}
