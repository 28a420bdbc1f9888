package httpapi

import (
	"io"
	"time"
)

// How fast a body has to come.
const (
	strangerTime = 5 * time.Second  // for a stranger's body as a whole
	startTime    = 10 * time.Second // for a known client's, before its rate counts
	minRate      = 4 << 10          // bytes a second
)

// body is a request's body. It moves the connection's deadline as it is read:
// a stranger has a short time, and a known client has to send at a rate.
type body struct {
	io.ReadCloser
	x        *Exchange
	deadline func(time.Time) error
	start    time.Time
	limit    time.Duration
	read     int64
	done     bool
}

// Pace returns the exchange's body with a limit on the time that it takes.
// deadline sets the deadline for reads of the connection.
func (x *Exchange) Pace(r io.ReadCloser, start time.Time, limit time.Duration, deadline func(time.Time) error) io.ReadCloser {
	x.body = &body{ReadCloser: r, x: x, deadline: deadline, start: start, limit: limit}
	x.body.arm()
	return x.body
}

// ExtendBody gives the body more time in all. Its rate still counts.
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
		// What follows is the server's own work, which takes the time that it
		// takes.
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
	_ = b.deadline(b.start.Add(d)) // fails on a closed connection, as the read will
}
