package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// TestBudget checks that each holder's share leaves some for the next.
func TestBudget(t *testing.T) {
	b := httpapi.NewBudget(1600, 0)
	fill := func(a httpapi.Account) (n int64) {
		for b.Take(a, 1) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		name string
		a    httpapi.Account
		want int64
	}{
		{"a token", httpapi.Account{User: 1, Token: 1}, 800},
		{"another token of the same user", httpapi.Account{User: 1, Token: 2}, 400},
		{"a third token of that user", httpapi.Account{User: 1, Token: 3}, 0},
		{"another user", httpapi.Account{User: 2, Token: 4}, 200},
		{"a stranger", httpapi.Account{Network: "192.0.2.1"}, 11},
		{"the same stranger", httpapi.Account{Network: "192.0.2.1"}, 0},
		{"another stranger", httpapi.Account{Network: "192.0.2.2"}, 11},
	} {
		if n := fill(c.a); n != c.want {
			t.Errorf("%s gets %d, want %d", c.name, n, c.want)
		}
	}
	b.Give(httpapi.Account{User: 1, Token: 1}, 800)
	if n := fill(httpapi.Account{User: 3, Token: 5}); n != 489 {
		t.Errorf("after the first token gave back its share, another user gets %d", n)
	}
	strangers := httpapi.NewBudget(1600, 0)
	all := int64(0)
	for i := range 1000 {
		for strangers.Take(httpapi.Account{Network: string(rune(i))}, 1) {
			all++
		}
	}
	if all != 400 {
		t.Errorf("all strangers together get %d", all)
	}
	each := httpapi.NewBudget(100, 2)
	a := httpapi.Account{User: 1, Token: 1}
	if !each.Take(a, 2) || each.Take(a, 1) || each.Used() != 2 {
		t.Error("one token may hold more than each")
	}
}

func limits(memory int64) *httpapi.Limits {
	return &httpapi.Limits{Memory: httpapi.NewBudget(memory, 0), Waiting: httpapi.NewBudget(8, 2)}
}

// read reads a body on behalf of a client.
func read(l *httpapi.Limits, user uint64, body io.Reader, encoding string) (*httpapi.Exchange, error) {
	x := &httpapi.Exchange{Limits: l, Origin: httpapi.Origin{Network: "192.0.2.1"}}
	x.Identify(user, user)
	r := httptest.NewRequestWithContext(httpapi.WithExchange(context.Background(), x), "POST", "/", body)
	r.ContentLength = -1
	r.Header.Set("Content-Encoding", encoding)
	_, err := httpapi.ReadBody(httptest.NewRecorder(), r, 8<<20)
	return x, err
}

// TestBodiesAreBounded checks that any number of compressed bodies whose last
// byte is held back use only their client's share of the memory, and leave
// enough for another client.
func TestBodiesAreBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	const total = 64 << 20
	l := limits(total)
	refused := 0
	var open []*httpapi.Exchange
	for range 50 {
		x, err := read(l, 1, bytes.NewReader(bomb.Bytes()), "gzip")
		open = append(open, x)
		if errors.Is(err, httpapi.ErrBusy) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if used := l.Memory.Used(); used > total/2 || refused < 40 {
		t.Errorf("%d bytes are held, %d bodies were refused", used, refused)
	}
	x, err := read(l, 2, strings.NewReader(strings.Repeat("x", 4<<20)), "")
	if err != nil {
		t.Errorf("body of another client: %v", err)
	}
	for _, x := range append(open, x) {
		x.Release()
	}
	if used := l.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are still held at the end", used)
	}
}

// TestManyNames checks that memory is reserved for the decoded JSON.
func TestManyNames(t *testing.T) {
	l := limits(64 << 20)
	if _, err := read(l, 1, strings.NewReader(strings.Repeat(`"a":"",`, 600_000)), ""); !errors.Is(err, httpapi.ErrNeverFits) || !errors.Is(err, httpapi.ErrTooLarge) {
		t.Errorf("600,000 names: %v", err)
	}
	x, err := read(l, 1, strings.NewReader(`{"a":"b"}`), "")
	if err != nil || l.Memory.Used() == 0 {
		t.Errorf("small body at the same time: %v", err)
	}
	x.Release()
}

// TestStrangersBodies checks that strangers have no free allowance.
func TestStrangersBodies(t *testing.T) {
	l := limits(16 << 20)
	refused := false
	for range 100 {
		_, err := read(l, 0, strings.NewReader(strings.Repeat("x", 60<<10)), "")
		refused = refused || errors.Is(err, httpapi.ErrBusy)
	}
	if !refused || l.Memory.Used() > 1<<20 {
		t.Errorf("a stranger holds %d bytes", l.Memory.Used())
	}
}

type connection struct {
	account httpapi.Account
	waits   int
}

func (c *connection) Identified(a httpapi.Account) { c.account = a }
func (c *connection) Waiting(on bool) {
	if on {
		c.waits++
	} else {
		c.waits--
	}
}

func TestWait(t *testing.T) {
	l, c := limits(1<<20), new(connection)
	x := &httpapi.Exchange{Limits: l, Client: c}
	x.Identify(1, 2)
	if want := (httpapi.Account{User: 1, Token: 2}); c.account != want {
		t.Errorf("the connection was identified as %v", c.account)
	}
	first, err := x.Wait()
	if err != nil {
		t.Fatal(err)
	}
	second, err := x.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Wait(); !errors.Is(err, httpapi.ErrBusy) || c.waits != 2 {
		t.Errorf("third wait: %v, %d waiting", err, c.waits)
	}
	first()
	second()
	if c.waits != 0 || l.Waiting.Used() != 0 {
		t.Errorf("%d still waiting at the end", c.waits)
	}
}

// TestPace checks that a stranger's body must arrive quickly, a known client's
// at a minimum rate, and that the handler has more time after that.
func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	var deadline time.Duration
	x := &httpapi.Exchange{Limits: limits(1 << 20)}
	pr, pw := io.Pipe()
	b := x.Pace(pr, start, time.Minute, func(at time.Time) error { deadline = at.Sub(start); return nil })
	want := func(what string, d time.Duration) {
		t.Helper()
		if deadline != d {
			t.Errorf("%s: %v, want %v", what, deadline, d)
		}
	}
	want("a stranger", 5*time.Second)
	x.Identify(1, 1)
	want("a known client", 10*time.Second)
	go pw.Write(make([]byte, 80<<10))
	buf := make([]byte, 16<<10)
	for range 5 {
		if _, err := io.ReadFull(b, buf); err != nil {
			t.Fatal(err)
		}
	}
	go pw.Write(buf[:1])
	if _, err := b.Read(buf); err != nil {
		t.Fatal(err)
	}
	want("after 80 KiB", 30*time.Second)
	x.ExtendBody(10 * time.Minute)
	pw.Close()
	if _, err := b.Read(buf); err != io.EOF {
		t.Fatal(err)
	}
	want("at the end", 10*time.Minute)
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%eth0": "fe80::/64", "": "", "nonsense": "nonsense", "a:b": "a:b",
	} {
		if got := httpapi.Network(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
