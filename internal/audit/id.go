package audit

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"
)

// ID names one record for ever: the log holds each ID once.
type ID [16]byte

// String returns the ID as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the ID as it stands in a line.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	if !decodeHex(id[:], text) {
		return fmt.Errorf("audit: a record's ID is %d lower-case hexadecimal digits", 2*len(id))
	}
	return nil
}

// IDSource makes IDs. It may be used by several goroutines at once.
type IDSource struct {
	prefix  [10]byte
	counter atomic.Uint64
}

// NewIDs returns a source whose IDs differ from those of every other source:
// each begins with the second in which the source was made and 48 random bits.
// The IDs of one source ascend in byte order, as do those of sources made one
// after the other, so that keys made of them stand in the order of time.
func NewIDs() *IDSource {
	s := new(IDSource)
	binary.BigEndian.PutUint32(s.prefix[:4], uint32(time.Now().Unix()))
	rand.Read(s.prefix[4:]) // never fails
	return s
}

// Next returns an ID that was not returned before.
func (s *IDSource) Next() ID {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], s.counter.Add(1))
	var id ID
	copy(id[:], s.prefix[:])
	copy(id[len(s.prefix):], counter[2:])
	return id
}

// decodeHex fills dst from text, which must have exactly its length and lower
// case: two spellings of one value would be two lines with one meaning.
func decodeHex(dst, text []byte) bool {
	if len(text) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := nibble(text[2*i]), nibble(text[2*i+1])
		if hi > 0xf || lo > 0xf {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

// nibble returns the value of a hexadecimal digit, or 0xff.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
