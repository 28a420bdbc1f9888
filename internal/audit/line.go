package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// A line is {"seq":N,"prev":"H",B and a newline, where H is the hash of the
// previous line and B is the record without its opening brace. Everything up
// to the record's ID has only one spelling, so that lines can be identified
// and ordered without parsing JSON.
const (
	bodyStart = `{"id":"`
	seqStart  = `{"seq":`
	prevStart = `,"prev":"`
	idStart   = `","id":"`
)

// MaxBody is the maximum length of a record.
const MaxBody = 16 << 20

// maxLine limits how much a reader buffers to find the end of a line.
const maxLine = MaxBody + 256

// Hash is the SHA-256 hash of a line including its newline, so "sed -n 7p FILE
// | sha256sum" prints the hash that must be in line 8.
type Hash [sha256.Size]byte

// String formats the hash as in a line.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Entry is one line of the log.
type Entry struct {
	Seq  uint64 // 1 for the first line of the log
	Prev Hash   // hash of the previous line, zero for the first
	Record
}

// Parse parses one line, with or without its newline.
func Parse(line []byte) (Entry, error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	h, err := parseHeader(line)
	if err != nil {
		return Entry{}, fmt.Errorf("audit: %w", err)
	}
	r, err := parseRecord(line, h.id)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Seq: h.seq, Prev: h.prev, Record: r}, nil
}

// appendLine appends the line that contains body and follows after. It returns
// the new line's checkpoint.
func appendLine(dst []byte, after Checkpoint, body []byte) ([]byte, Checkpoint) {
	start := len(dst)
	dst = appendLineStart(dst, after)
	dst = append(dst, body[1:]...)
	dst = append(dst, '\n')
	return dst, Checkpoint{Seq: after.Seq + 1, Hash: sha256.Sum256(dst[start:])}
}

// appendLineStart appends the predictable start of the line that follows
// after.
func appendLineStart(dst []byte, after Checkpoint) []byte {
	dst = append(dst, seqStart...)
	dst = strconv.AppendUint(dst, after.Seq+1, 10)
	dst = append(dst, prevStart...)
	dst = hex.AppendEncode(dst, after.Hash[:])
	return append(dst, `",`...)
}

// checkBody returns the ID of a record that can be put into a line. It checks
// only the overall form, since parsing the JSON would cost more than all the
// rest.
func checkBody(body []byte) (id ID, err error) {
	const idEnd = len(bodyStart) + 2*len(id)
	switch {
	case len(body) > MaxBody:
		return id, fmt.Errorf("audit: a record of %d bytes is longer than %d", len(body), MaxBody)
	case len(body) < idEnd+2,
		string(body[:len(bodyStart)]) != bodyStart,
		!decodeHex(id[:], body[len(bodyStart):idEnd]),
		!endsRecord(body[idEnd:]),
		bytes.IndexByte(body, '\n') >= 0:
		return id, errors.New("audit: not a record")
	}
	return id, nil
}

// endsRecord reports whether the text after a record's ID can end the object.
func endsRecord(rest []byte) bool {
	return len(rest) >= 2 && rest[0] == '"' && (rest[1] == ',' || rest[1] == '}') && rest[len(rest)-1] == '}'
}

type header struct {
	seq  uint64
	prev Hash
	id   ID
}

var errNotLine = errors.New("not a line of an audit log")

// parseHeader parses the part of a line before the record. The line has no
// newline.
func parseHeader(line []byte) (h header, err error) {
	seq, rest, ok := parseSeq(line)
	if !ok {
		return h, errNotLine
	}
	h.seq = seq
	rest, ok = bytes.CutPrefix(rest, []byte(prevStart))
	if !ok || len(rest) < 2*len(h.prev) || !decodeHex(h.prev[:], rest[:2*len(h.prev)]) {
		return h, errNotLine
	}
	rest, ok = bytes.CutPrefix(rest[2*len(h.prev):], []byte(idStart))
	if !ok || len(rest) < 2*len(h.id) || !decodeHex(h.id[:], rest[:2*len(h.id)]) || !endsRecord(rest[2*len(h.id):]) {
		return h, errNotLine
	}
	return h, nil
}

// parseSeq parses the number at the start of a line. It also returns the rest.
func parseSeq(line []byte) (seq uint64, rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(line, []byte(seqStart))
	if !ok || len(rest) == 0 || rest[0] == '0' {
		return 0, nil, false
	}
	n := 0
	for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
		n++
	}
	seq, err := strconv.ParseUint(string(rest[:n]), 10, 64)
	return seq, rest[n:], err == nil
}
