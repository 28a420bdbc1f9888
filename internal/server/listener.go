package server

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// listener keeps so many connections open at a time. When one more comes, the
// one that has waited for a request longest is closed for it, as its idle
// timeout would do later: who opens connections and leaves them must not keep
// others out. When all are busy, the new one waits until one ends, and further
// ones in the system's queue, which costs nothing here and loses no request,
// where an answer would have to be read and written first.
type listener struct {
	net.Listener
	slots   chan struct{}
	closed  chan struct{}
	once    sync.Once
	open    atomic.Int64
	full    atomic.Int64 // times that there was no slot left
	dropped atomic.Int64 // idle connections that were closed for others
	warned  time.Time    // used by Accept's one caller alone
	logger  *slog.Logger

	mu      sync.Mutex
	idle    list.List // of *connection, the one that has been idle longest first
	waiting bool      // Accept waits for a slot
}

func limitListener(l net.Listener, limit int, logger *slog.Logger) *listener {
	return &listener{Listener: l, slots: make(chan struct{}, limit), closed: make(chan struct{}), logger: logger}
}

// Accept waits for a connection and then for a free slot.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case l.slots <- struct{}{}:
	default:
		if !l.wait() {
			_ = c.Close() // nobody has read from it or written to it
			return nil, net.ErrClosed
		}
	}
	l.open.Add(1)
	return &connection{Conn: c, listener: l}, nil
}

// wait waits for a slot, and returns false when the listener is closed first.
func (l *listener) wait() bool {
	l.full.Add(1)
	if now := time.Now(); now.Sub(l.warned) > time.Minute {
		l.warned = now
		l.logger.Warn("the limit of connections is reached: idle ones are closed, and new ones wait", "connections", cap(l.slots))
	}
	l.setWaiting(true)
	defer l.setWaiting(false)
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.closed:
		return false
	}
}

func (l *listener) setWaiting(waiting bool) {
	l.mu.Lock()
	l.waiting = waiting
	c := l.takeIdle()
	l.mu.Unlock()
	l.drop(c)
}

// takeIdle takes a connection out of the list if somebody waits for its slot.
// The caller holds mu.
func (l *listener) takeIdle() *connection {
	first := l.idle.Front()
	if !l.waiting || first == nil {
		return nil
	}
	c := l.idle.Remove(first).(*connection)
	c.place = nil
	l.waiting = false // its slot is on the way
	return c
}

func (l *listener) drop(c *connection) {
	if c != nil {
		l.dropped.Add(1)
		_ = c.Close() // it is given up anyway
	}
}

// track follows what http.Server says about its connections.
func (l *listener) track(conn net.Conn, state http.ConnState) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	l.mu.Lock()
	if c.place != nil {
		l.idle.Remove(c.place)
		c.place = nil
	}
	if state == http.StateNew || state == http.StateIdle {
		c.place = l.idle.PushBack(c)
	}
	oldest := l.takeIdle()
	l.mu.Unlock()
	l.drop(oldest)
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// connection gives its slot back when it is closed.
type connection struct {
	net.Conn
	listener *listener
	place    *list.Element // in the listener's list, nil while it is busy
	once     sync.Once
}

func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.listener.open.Add(-1)
		<-c.listener.slots
	})
	return err
}
