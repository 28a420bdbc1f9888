package acl

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strconv"
	"time"
)

// ID identifies an organization, a user or a token: 64 bits, written as 16
// hexadecimal digits. The zero ID is invalid.
type ID uint64

var (
	// ErrIDLength and ErrID explain why a text is not an ID. Their texts are
	// part of InfluxDB's protocol.
	ErrIDLength = errors.New("id must have a length of 16 bytes")
	ErrID       = errors.New("invalid ID")
)

// NewID returns a random ID.
func NewID() ID {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if id := ID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}

// NewIDAt returns an ID that is greater than the IDs of earlier times, so that
// sorting by ID is sorting by creation. The ID reveals the time t; below the
// microsecond it is random.
func NewIDAt(t time.Time) ID {
	const random = 12 // bits; the rest holds times until 2112
	if id := ID(t.UnixMicro())<<random | NewID()>>(64-random); id != 0 {
		return id
	}
	return NewID()
}

// ParseID parses the 16 hexadecimal digits of an ID, in upper or lower case.
func ParseID(s string) (ID, error) {
	if len(s) != 16 {
		return 0, ErrIDLength
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 {
		return 0, ErrID
	}
	return ID(n), nil
}

// LooksLikeID reports whether a text has the form of an ID, including the zero
// ID.
func LooksLikeID(s string) bool {
	_, err := strconv.ParseUint(s, 16, 64)
	return len(s) == 16 && err == nil
}

func (id ID) String() string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[id>>(60-4*i)&15]
	}
	return string(b[:])
}

// Bytes returns the ID as 8 bytes, which sort in the same order as IDs.
func (id ID) Bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
