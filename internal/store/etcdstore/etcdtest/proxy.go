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
	scheme   string
	target   string

	mu     sync.Mutex
	wake   *sync.Cond
	conns  map[net.Conn]bool
	cut    bool
	lose   bool // replies
	closed bool
	holds  struct{ requests, replies bool }
}

func newProxy(tb testing.TB, scheme, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, scheme: scheme, target: target, conns: map[net.Conn]bool{}}
	p.wake = sync.NewCond(&p.mu)
	go p.accept()
	tb.Cleanup(func() {
		_ = l.Close()
		p.change(func() { p.closed = true; p.closeAll() })
	})
	return p
}

// Endpoint returns the proxy's URL.
func (p *Proxy) Endpoint() string { return p.scheme + "://" + p.listener.Addr().String() }

// Cut ends all connections and refuses new ones.
func (p *Proxy) Cut() { p.change(func() { p.cut = true; p.closeAll() }) }

// LoseReplies drops what the member answers from now on.
func (p *Proxy) LoseReplies() { p.change(func() { p.lose = true }) }

// HoldRequests delays what is sent to the member until Mend.
func (p *Proxy) HoldRequests() { p.change(func() { p.holds.requests = true }) }

// HoldReplies delays what the member sends until Mend.
func (p *Proxy) HoldReplies() { p.change(func() { p.holds.replies = true }) }

// Mend ends all disturbances. Held requests are delivered; connections that have
// lost something end.
func (p *Proxy) Mend() {
	p.change(func() {
		if p.lose {
			p.closeAll()
		}
		p.cut, p.lose = false, false
		p.holds.requests, p.holds.replies = false, false
	})
}

// Cut calls Cut of each proxy.
func (p Proxies) Cut() { p.each((*Proxy).Cut) }

// HoldRequests calls HoldRequests of each proxy.
func (p Proxies) HoldRequests() { p.each((*Proxy).HoldRequests) }

// HoldReplies calls HoldReplies of each proxy.
func (p Proxies) HoldReplies() { p.each((*Proxy).HoldReplies) }

// LoseReplies calls LoseReplies of each proxy.
func (p Proxies) LoseReplies() { p.each((*Proxy).LoseReplies) }

// Mend calls Mend of each proxy.
func (p Proxies) Mend() { p.each((*Proxy).Mend) }

func (p Proxies) each(do func(*Proxy)) {
	for _, one := range p {
		do(one)
	}
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
	both.Go(func() { p.pass(client, member, &p.holds.requests, nil) })
	both.Go(func() { p.pass(member, client, &p.holds.replies, &p.lose) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, member)
}

// pass copies from one side to the other, waits while *hold is set, and drops
// what comes while *lose is set.
func (p *Proxy) pass(from, to net.Conn, hold, lose *bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.gate(hold, lose) {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_, _ = from.Close(), to.Close()
			return
		}
	}
}

// gate waits while *hold is set, and reports whether the data goes on.
func (p *Proxy) gate(hold, lose *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for *hold && !p.closed {
		p.wake.Wait()
	}
	return !p.closed && (lose == nil || !*lose)
}
