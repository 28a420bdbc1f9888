package acl

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strconv"
	"time"
)

// ID names an organization, a user or a token: 64 bits, written as 16
// hexadecimal digits. The zero ID is invalid.
type ID uint64

var (
	// ErrIDLength and ErrID say why a text is no ID. Their texts are part of
	// InfluxDB's protocol.
	ErrIDLength = errors.New("id must have a length of 16 bytes")
	ErrID       = errors.New("invalid ID")
)

// NewID returns a random ID.
func NewID() ID {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails, see crypto/rand
		if id := ID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}

// NewIDAt returns an ID that is greater than those of earlier times, so that what
// is listed by ID is listed in the order in which it was made. It tells when that
// was; below the microsecond it is random.
func NewIDAt(t time.Time) ID {
	const random = 12 // bits, which leaves room for the time until 2112
	if id := ID(t.UnixMicro())<<random | NewID()>>(64-random); id != 0 {
		return id
	}
	return NewID()
}

// ParseID reads the 16 hexadecimal digits of an ID, in either case.
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

// LooksLikeID reports whether a text has the form of an ID. The zero ID has it
// too.
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

// Bytes returns the ID's 8 bytes, which sort as the IDs do.
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
