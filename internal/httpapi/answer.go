package httpapi

import (
	"net/http"
	"strconv"
	"sync"
)

const (
	// PartSize is the size of the parts in which a long answer is sent.
	PartSize = 64 << 10
	// maxPooledBuffer limits the memory that the pool retains for a buffer.
	maxPooledBuffer = 1 << 20
)

// A Sender sends part of a long answer and returns the buffer for the next
// part.
type Sender func([]byte) []byte

// Buffers is a pool of buffers for answers. The zero value is ready to use.
type Buffers struct{ pool sync.Pool } // of *answer

// answer is an answer in progress, or a buffer for one.
type answer struct {
	w      http.ResponseWriter // nil when not in use
	status int
	sent   bool // part of it
	buffer []byte
	send   Sender // a.sendPart, made once
}

func newAnswer() *answer {
	a := &answer{}
	a.send = a.sendPart
	return a
}

// Answer sends what fill appends, with the headers set so far. fill calls send
// to send part of a long answer early. Write errors are ignored: the
// connection is broken, so there is nobody to report them to.
func (p *Buffers) Answer(w http.ResponseWriter, status int, fill func(b []byte, send Sender) []byte) {
	a, ok := p.pool.Get().(*answer)
	if !ok {
		a = newAnswer()
	}
	a.w, a.status, a.sent = w, status, false
	b := fill(a.buffer, a.send)
	if !a.sent {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	}
	a.buffer = a.sendPart(b)
	if a.w = nil; cap(a.buffer) <= maxPooledBuffer {
		p.pool.Put(a)
	}
}

func (a *answer) sendPart(b []byte) []byte {
	if !a.sent {
		a.sent = true
		a.w.WriteHeader(a.status)
	}
	a.w.Write(b)
	clear(b) // secret values must not linger in memory
	return b[:0]
}
