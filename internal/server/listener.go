package server

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// listener limits the open connections, in total and for each address. To make room
// for another one, it closes the least useful: a stranger's (without a request with
// a valid token or session so far), then an idle one, then one that waits for a
// change. A stranger's connection comes last for a second and then first. Among
// equals, it closes the one that has been in its state for longest. If known clients
// keep all connections busy, a new one waits a moment for one to end; then the
// client with the most connections loses one.
type listener struct {
	net.Listener
	limit      int
	perAddress int
	trusted    []netip.Prefix // proxies, which forward many addresses
	patience   time.Duration  // before a busy connection is closed
	logger     *slog.Logger

	closed chan struct{}
	once   sync.Once
	ended  chan struct{} // gets a value when a connection has ended

	open    atomic.Int64
	full    atomic.Int64 // times that there was no room for one more
	dropped atomic.Int64 // connections that were closed for others
	refused atomic.Int64 // new ones that were closed, as their address had its share
	warned  time.Time    // used by Accept's one caller alone

	mu        sync.Mutex
	conns     map[*connection]struct{}
	ranks     [ranks]list.List // of *connection
	addresses map[string]*address
}

// address has the connections of one address.
type address struct {
	open  int
	ranks [ranks]list.List // of *connection
}

// Ranks of connections, the least useful first.
const (
	stranger = iota
	knownIdle
	knownWaiting
	ranks
	knownBusy = ranks // in no list
)

func limitListener(l net.Listener, limit, perAddress int, trusted []netip.Prefix, logger *slog.Logger) *listener {
	return &listener{
		Listener: l, limit: limit, perAddress: perAddress, trusted: trusted, patience: time.Second, logger: logger,
		closed: make(chan struct{}), ended: make(chan struct{}, 1),
		conns: make(map[*connection]struct{}), addresses: make(map[string]*address),
	}
}

// Accept waits for a connection and makes room for it.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: nc, listener: l, host: hostOf(nc.RemoteAddr().String())}
		c.network = httpapi.Network(c.host)
		switch l.admit(c) {
		case admitted:
			return c, nil
		case closing:
			_ = nc.Close() // nobody has read from it or written to it
			return nil, net.ErrClosed
		}
		_ = nc.Close()
		l.refused.Add(1)
	}
}

type admission int

const (
	admitted admission = iota
	overShare
	closing
)

func (l *listener) admit(c *connection) admission {
	var timeout <-chan time.Time
	force := false
	for {
		done, victim, share := l.enter(c, force)
		if victim != nil {
			l.dropped.Add(1)
			_ = victim.Conn.Close() // an error doesn't matter
		}
		if victim != nil || !done {
			l.warn()
		}
		if done {
			return admitted
		}
		if share {
			return overShare
		}
		if timeout == nil {
			timeout = time.After(l.patience)
		}
		select {
		case <-l.ended:
		case <-timeout:
			force = true
		case <-l.closed:
			return closing
		}
	}
}

// enter admits a connection if there is room or another one can be closed for it.
// share says that there is no room because its address has used up its share. With
// force, a known client's connection can be closed.
func (l *listener) enter(c *connection, force bool) (done bool, victim *connection, share bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.addressOf(c)
	if a.open >= l.perAddress && !isTrusted(c.host, l.trusted) {
		if victim = first(&a.ranks); victim == nil {
			return false, nil, true
		}
		l.remove(victim)
	} else if len(l.conns) >= l.limit {
		if victim = first(&l.ranks); victim == nil && force {
			victim = l.mostConnected()
		}
		if victim == nil {
			return false, nil, false
		}
		l.remove(victim)
	}
	a = l.addressOf(c)
	l.addresses[c.network] = a
	c.address = a
	a.open++
	l.conns[c] = struct{}{}
	l.open.Store(int64(len(l.conns)))
	c.rank = knownBusy
	l.enqueue(c, stranger)
	return true, victim, false
}

func (l *listener) addressOf(c *connection) *address {
	if a := l.addresses[c.network]; a != nil {
		return a
	}
	return &address{}
}

// newcomer is how long a stranger's connection has to authenticate before it is the
// first to be closed.
const newcomer = time.Second

func first(of *[ranks]list.List) *connection {
	var fresh *connection
	for i := range of {
		e := of[i].Front()
		if e == nil {
			continue
		}
		c := e.Value.(*connection)
		if i != stranger || time.Since(c.since) >= newcomer {
			return c
		}
		fresh = c
	}
	return fresh
}

// mostConnected returns a connection of the client with the most of them, nil if no
// client has more than one.
func (l *listener) mostConnected() *connection {
	counts := make(map[httpapi.Account]int)
	var victim *connection
	for c := range maps.Keys(l.conns) {
		counts[c.account]++
		if n := counts[c.account]; n > 1 && (victim == nil || n > counts[victim.account]) {
			victim = c
		}
	}
	return victim
}

// enqueue moves a connection to the end of a rank. The caller holds mu.
func (l *listener) enqueue(c *connection, rank int) {
	if c.global != nil {
		l.ranks[c.rank].Remove(c.global)
		c.address.ranks[c.rank].Remove(c.local)
		c.global, c.local = nil, nil
	}
	c.rank = rank
	if rank != knownBusy {
		c.since = time.Now()
		c.global = l.ranks[rank].PushBack(c)
		c.local = c.address.ranks[rank].PushBack(c)
	}
}

// remove removes a connection. The caller holds mu.
func (l *listener) remove(c *connection) {
	if c.address == nil {
		return
	}
	l.enqueue(c, knownBusy)
	delete(l.conns, c)
	l.open.Store(int64(len(l.conns)))
	if c.address.open--; c.address.open == 0 {
		delete(l.addresses, c.network)
	}
	c.address = nil
}

func (l *listener) warn() {
	l.full.Add(1)
	if now := time.Now(); now.Sub(l.warned) > time.Minute {
		l.warned = now
		l.logger.Warn("the limit on connections is reached: those of strangers are closed first, then idle ones",
			"connections", l.limit, "per_address", l.perAddress)
	}
}

// track follows the connection states that http.Server reports.
func (l *listener) track(conn net.Conn, state http.ConnState) {
	c := connectionOf(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive:
		c.move(knownBusy)
	case http.StateIdle:
		c.move(knownIdle)
	}
}

func connectionOf(conn net.Conn) *connection {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

// Close stops Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// connection is a connection that the listener admitted.
type connection struct {
	net.Conn
	listener *listener
	host     string
	network  string                          // the network that counts as one address
	known    atomic.Pointer[httpapi.Account] // nil for a stranger

	// Guarded by the listener's mu.
	address       *address // nil once the listener has forgotten the connection
	account       httpapi.Account
	rank          int
	since         time.Time     // when it got its rank
	global, local *list.Element // in the lists of the rank, nil if in none
}

// move changes the rank of a known client's connection. A stranger's moves to the
// end of its rank after a response.
func (c *connection) move(rank int) {
	if c.known.Load() == nil {
		if rank != knownIdle {
			return
		}
		rank = stranger
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.address != nil && (c.rank != rank || rank != knownBusy) {
		l.enqueue(c, rank)
	}
}

// Identified sets the account that uses the connection.
func (c *connection) Identified(a httpapi.Account) {
	if known := c.known.Load(); known != nil && *known == a {
		return
	}
	known := a // so that a itself isn't allocated for each request
	c.known.Store(&known)
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.address != nil {
		c.account = a
		l.enqueue(c, knownBusy)
	}
}

// Waiting sets whether the connection's request waits for a change.
func (c *connection) Waiting(waits bool) {
	if waits {
		c.move(knownWaiting)
	} else {
		c.move(knownBusy)
	}
}

func (c *connection) Close() error {
	err := c.Conn.Close()
	l := c.listener
	l.mu.Lock()
	l.remove(c)
	l.mu.Unlock()
	select {
	case l.ended <- struct{}{}:
	default:
	}
	return err
}
