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
type Buffers struct{ pool sync.Pool }

// Answer sends what fill appends, with the headers set so far. fill calls send
// to send part of a long answer early. Write errors are ignored: the
// connection is broken, so there is nobody to report them to.
func (p *Buffers) Answer(w http.ResponseWriter, status int, fill func(b []byte, send Sender) []byte) {
	buffer, ok := p.pool.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	sent := false
	b := fill((*buffer)[:0], func(b []byte) []byte {
		if !sent {
			sent = true
			w.WriteHeader(status)
		}
		w.Write(b)
		clear(b)
		return b[:0]
	})
	if !sent {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
		w.WriteHeader(status)
	}
	w.Write(b)
	clear(b) // secret values must not linger in memory
	if cap(b) <= maxPooledBuffer {
		*buffer = b
		p.pool.Put(buffer)
	}
}
