package httpapi

import (
	"io"
	"time"
)

// How fast a body must arrive.
const (
	strangerTime = 5 * time.Second  // for a stranger's whole body
	startTime    = 10 * time.Second // before a known client's rate counts
	minRate      = 4 << 10          // bytes a second
)

// body is a request's body. Reading it moves the connection's deadline:
// strangers have a short time, and known clients must keep up a minimum rate.
type body struct {
	io.ReadCloser
	x        *Exchange
	deadline func(time.Time) error
	start    time.Time
	limit    time.Duration
	read     int64
	done     bool
}

// Pace limits the time that the exchange's body may take. deadline sets the
// connection's read deadline.
func (x *Exchange) Pace(r io.ReadCloser, start time.Time, limit time.Duration, deadline func(time.Time) error) io.ReadCloser {
	x.body = &body{ReadCloser: r, x: x, deadline: deadline, start: start, limit: limit}
	x.body.arm()
	return x.body
}

// ExtendBody sets a longer time limit. The minimum rate still applies.
func (x *Exchange) ExtendBody(limit time.Duration) {
	if x.body != nil {
		x.body.limit = limit
	}
}

func (b *body) Read(p []byte) (int, error) {
	b.arm()
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == io.EOF {
		// The rest of the time belongs to the handler.
		b.done = true
		b.arm()
	}
	return n, err
}

func (b *body) arm() {
	d := b.limit
	switch {
	case b.done:
	case b.x.account.Known():
		d = min(d, startTime+time.Duration(b.read/minRate)*time.Second)
	default:
		d = min(d, strangerTime)
	}
	_ = b.deadline(b.start.Add(d)) // fails only on a closed connection, where Read fails too
}
