package httpapi

import (
	"net/http"
	"strconv"
	"sync"
)

const (
	// PartSize is how much of a long answer is sent at a time.
	PartSize = 64 << 10
	// maxPooledBuffer bounds what an answer may leave behind in memory.
	maxPooledBuffer = 1 << 20
)

// A Sender sends a part of a long answer, and returns the buffer to go on with.
type Sender func([]byte) []byte

// Buffers are reused for answers. The zero value is ready to use.
type Buffers struct{ pool sync.Pool }

// Answer answers with what fill appends, under the headers that are set. Fill
// sends a part of a long answer before the rest is there. An error in writing
// is the connection's, and nobody is left to tell.
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
	clear(b) // values stay in memory no longer than they must
	if cap(b) <= maxPooledBuffer {
		*buffer = b
		p.pool.Put(buffer)
	}
}
