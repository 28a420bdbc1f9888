package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.from), 1))
}
func (c *fakeConn) Close() error { c.closed = true; return nil }

// fakeListener accepts connections from a channel.
type fakeListener struct{ conns chan net.Conn }

func (l fakeListener) Accept() (net.Conn, error) { return <-l.conns, nil }
func (l fakeListener) Close() error              { return nil }
func (l fakeListener) Addr() net.Addr            { return nil }

type listenerTest struct {
	*listener
	t     *testing.T
	conns chan net.Conn
}

func newListenerTest(t *testing.T, limit, perAddress int, trusted ...netip.Prefix) *listenerTest {
	conns := make(chan net.Conn, 1)
	return &listenerTest{limitListener(fakeListener{conns}, limit, perAddress, trusted, slog.New(slog.DiscardHandler)), t, conns}
}

// connect accepts a connection and sets its rank.
func (l *listenerTest) connect(from string, rank int, user uint64) *connection {
	l.t.Helper()
	l.conns <- &fakeConn{from: from}
	nc, err := l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	c := nc.(*connection)
	if rank != stranger {
		l.track(c, http.StateActive)
		c.Identified(httpapi.Account{User: user, Token: user})
		switch rank {
		case knownWaiting:
			c.Waiting(true)
		case knownIdle:
			l.track(c, http.StateIdle)
		}
	}
	return c
}

func gone(c *connection) bool { return c.Conn.(*fakeConn).closed }

// TestOrderOfClosing checks the order in which connections are closed: strangers'
// first, then idle ones, then those that wait, each the oldest first, and the new
// connection last.
func TestOrderOfClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListenerTest(t, 9, 100)
		at := func(i int) string { return fmt.Sprint("192.0.2.", i) }
		conns := []*connection{
			l.connect(at(1), knownWaiting, 1), l.connect(at(2), knownIdle, 1), l.connect(at(3), stranger, 0), l.connect(at(4), knownBusy, 1),
			l.connect(at(5), stranger, 0), l.connect(at(6), knownWaiting, 2), l.connect(at(7), knownIdle, 2), l.connect(at(8), knownBusy, 2),
		}
		time.Sleep(newcomer)
		conns = append(conns, l.connect(at(9), stranger, 0))
		for n, want := range []int{2, 4, 1, 6, 0, 5, 8} {
			c := l.connect(at(100+n), knownBusy, uint64(100+n))
			if !gone(conns[want]) || gone(c) {
				t.Fatalf("connection %d: %d is still open", n, want)
			}
			conns[want] = c
		}
		for i, c := range conns {
			if gone(c) {
				t.Errorf("connection %d is closed", i)
			}
		}
		if n := l.open.Load(); n != 9 {
			t.Errorf("%d are open", n)
		}
	})
}

// TestGreediest checks that while all connections are busy, a new one waits a moment,
// and then the client with the most connections loses one.
func TestGreediest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListenerTest(t, 4, 100)
		greedy := []*connection{l.connect("192.0.2.1", knownBusy, 1), l.connect("192.0.2.2", knownBusy, 1), l.connect("192.0.2.3", knownBusy, 1)}
		other := l.connect("192.0.2.4", knownBusy, 2)
		begin := time.Now()
		l.connect("192.0.2.5", stranger, 0)
		if waited := time.Since(begin); waited != l.patience {
			t.Errorf("it waited %v", waited)
		}
		closed := 0
		for _, c := range greedy {
			if gone(c) {
				closed++
			}
		}
		if closed != 1 || gone(other) {
			t.Errorf("%d connections of the greedy client are closed, the other's is closed: %v", closed, gone(other))
		}
		go func() {
			time.Sleep(time.Millisecond)
			other.Close()
		}()
		l.connect("192.0.2.6", knownBusy, 3) // closes the stranger's
		begin = time.Now()
		l.connect("192.0.2.7", knownBusy, 4) // waits until the other ends
		if waited := time.Since(begin); waited != time.Millisecond {
			t.Errorf("it waited %v for a connection that ended", waited)
		}
	})
}

// TestPerAddress checks that an address has a share, except for proxies, and loses
// one of its own connections to its next one.
func TestPerAddress(t *testing.T) {
	l := newListenerTest(t, 100, 3, netip.MustParsePrefix("10.0.0.0/8"))
	elsewhere := l.connect("192.0.2.1", stranger, 0)
	first := l.connect("2001:db8::1", stranger, 0)
	l.connect("2001:db8::2", knownBusy, 1)
	l.connect("2001:db8::3", knownBusy, 1)
	last := l.connect("2001:db8::4", knownBusy, 1)
	if !gone(first) || gone(elsewhere) {
		t.Errorf("the address's own is closed: %v, another's: %v", gone(first), gone(elsewhere))
	}
	over := &fakeConn{from: "2001:db8::5"}
	l.conns <- over
	next := make(chan net.Conn)
	go func() {
		nc, _ := l.Accept()
		next <- nc
	}()
	l.conns <- &fakeConn{from: "192.0.2.9"}
	if c := (<-next).(*connection); c.host != "192.0.2.9" || !over.closed || gone(last) {
		t.Errorf("accepted %s; the one too many is closed: %v", c.host, over.closed)
	}
	for range 5 {
		l.connect("10.1.2.3", stranger, 0)
	}
	if n := l.open.Load(); n != 10 {
		t.Errorf("%d are open", n)
	}
}

func TestConnectionLimitFollowsFiles(t *testing.T) {
	for _, c := range []struct{ wanted, files, want int }{
		{4096, 0, 4096}, {4096, 40, 16}, {4096, 1024, 768}, {4096, 20000, 4096}, {20000, 20000, 19360}, {4096, 10, 1}, {2, 40, 2},
	} {
		if got := connectionLimit(c.wanted, c.files); got != c.want {
			t.Errorf("%d connections with %d files: %d, want %d", c.wanted, c.files, got, c.want)
		}
	}
}
