package server

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// requestIDs generates UUIDs of version 8 (RFC 9562, section 5.8): random bits of
// this process, then a number. IDs sent by clients are ignored, because they would
// end up in the audit log.
type requestIDs struct {
	process [8]byte
	last    atomic.Uint64
}

func newRequestIDs() *requestIDs {
	ids := new(requestIDs)
	rand.Read(ids.process[:]) // never fails: it ends the process instead
	ids.process[6] = 0x80 | ids.process[6]&0x0f
	return ids
}

func (ids *requestIDs) next() string {
	var id [16]byte
	copy(id[:], ids.process[:])
	binary.BigEndian.PutUint64(id[8:], ids.last.Add(1))
	id[8] = 0x80 // the variant; the number stays below 2⁵⁶
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	text[8] = '-'
	hex.Encode(text[9:13], id[4:6])
	text[13] = '-'
	hex.Encode(text[14:18], id[6:8])
	text[18] = '-'
	hex.Encode(text[19:23], id[8:10])
	text[23] = '-'
	hex.Encode(text[24:], id[10:])
	return string(text[:])
}
