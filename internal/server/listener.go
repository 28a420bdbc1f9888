package server

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// listener accepts so many connections at a time. Others wait in the system's
// queue until one ends, which costs nothing here and loses no request, where
// an answer would have to be read and written first.
type listener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
	open   atomic.Int64
	full   atomic.Int64 // times that a connection had to wait
	warned time.Time    // used by Accept's one caller alone
	logger *slog.Logger
}

func limitListener(l net.Listener, limit int, logger *slog.Logger) *listener {
	return &listener{Listener: l, slots: make(chan struct{}, limit), closed: make(chan struct{}), logger: logger}
}

// Accept waits for a free slot and then for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	default:
		l.wait()
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.open.Add(1)
	return &connection{Conn: c, listener: l}, nil
}

func (l *listener) wait() {
	l.full.Add(1)
	if now := time.Now(); now.Sub(l.warned) > time.Minute {
		l.warned = now
		l.logger.Warn("the limit of connections is reached: more wait until one ends", "connections", cap(l.slots))
	}
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
