//go:build unix

package etcdtest

import (
	"net"
	"sync"
	"testing"
)

// Proxy passes connections on to a member, and can disturb them.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	wake   *sync.Cond
	conns  map[net.Conn]bool
	cut    bool
	lose   bool
	hold   bool
	closed bool
}

func newProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.wake = sync.NewCond(&p.mu)
	go p.accept()
	tb.Cleanup(func() {
		_ = l.Close()
		p.change(func() { p.closed = true; p.closeAll() })
	})
	return p
}

// Endpoint returns the proxy's URL.
func (p *Proxy) Endpoint() string { return "http://" + p.listener.Addr().String() }

// Cut ends all connections and refuses new ones.
func (p *Proxy) Cut() { p.change(func() { p.cut = true; p.closeAll() }) }

// LoseReplies drops what the member answers from now on.
func (p *Proxy) LoseReplies() { p.change(func() { p.lose = true }) }

// HoldRequests delays what is sent to the member until Mend.
func (p *Proxy) HoldRequests() { p.change(func() { p.hold = true }) }

// Mend ends all disturbances. Held requests are delivered; connections that have
// lost something end.
func (p *Proxy) Mend() {
	p.change(func() {
		if p.lose {
			p.closeAll()
		}
		p.cut, p.lose, p.hold = false, false, false
	})
}

func (p *Proxy) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	p.wake.Broadcast()
}

// closeAll ends all connections. mu must be held.
func (p *Proxy) closeAll() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	member, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	if p.cut || p.closed {
		p.mu.Unlock()
		_, _ = client.Close(), member.Close()
		return
	}
	p.conns[client], p.conns[member] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(client, member, p.awaitHold) })
	both.Go(func() { p.pass(member, client, p.losing) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, member)
}

// pass copies from one side to the other, except what drop says.
func (p *Proxy) pass(from, to net.Conn, drop func() bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !drop() {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			// A side whose other side is gone gets no more answers.
			_, _ = from.Close(), to.Close()
			return
		}
	}
}

func (p *Proxy) losing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose
}

// awaitHold waits while requests are held.
func (p *Proxy) awaitHold() (drop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.hold && !p.closed {
		p.wake.Wait()
	}
	return p.closed
}
