//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// claims says what the servers on an etcd cluster have claimed.
type claims struct {
	t    *testing.T
	etcd *etcdtest.Cluster
}

// commit is the part of the commit record that these tests look at.
type commit struct {
	N     uint64
	By    string   // incarnation
	Wait  []string // incarnations whose turn it is
	Large *struct {
		ID            string
		Chunks, Moved int // 0 while it isn't committed
	}
}

func (c claims) newest() (newest commit) {
	c.t.Helper()
	const key = "/fluxkeep/c"
	values, err := c.etcd.Read(key)
	if err == nil {
		err = json.Unmarshal(values[key], &newest)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return newest
}

// incarnation returns what a server calls itself in etcd, "" if it isn't registered.
func (c claims) incarnation(of *server) string {
	c.t.Helper()
	values, err := c.etcd.Read("/fluxkeep/r/")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, value := range values {
		var r struct{ Address, Incarnation string }
		if err := json.Unmarshal(value, &r); err != nil {
			c.t.Fatal(err)
		}
		if r.Address == of.address() {
			return r.Incarnation
		}
	}
	return ""
}

// stop stops a server if holds is true, and stays so. Otherwise, the server goes on.
func (c claims) stop(x *server, holds func() bool) (stopped bool) {
	c.t.Helper()
	if !holds() {
		return false
	}
	x.pause()
	if stopped = holds(); !stopped {
		x.resume()
	}
	return stopped
}

// chunks returns the number of uploaded chunks of large changes.
func (c claims) chunks() int {
	c.t.Helper()
	n, err := c.etcd.Count("/fluxkeep/l/")
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// contest is about secrets that several servers change, one of which is stopped.
type contest struct {
	claims
	all    []*server
	held   *server // the one that is stopped
	others []*server
	path   string
	want   map[string]string
}

func newContest(t *testing.T) *contest {
	s := startServers(t, 1, 3)
	for _, x := range s.all {
		x.troubled = true
	}
	held := s.all[0]
	c := &contest{claims{t, s.etcd}, s.all, held, s.all[1:], vaultPath(held.orgID), map[string]string{held.secretName("small"): held.private("first")}}
	held.set(c.want)
	return c
}

// change makes a small change.
func (c *contest) change(by *server, value string) {
	c.t.Helper()
	value = by.private(value + " " + by.address())
	eventually(c.t, "change by "+by.address(), func() bool {
		return by.ask("PATCH", c.path, by.token, object{"data": object{by.secretName("small"): value}}).ok()
	})
	c.want[by.secretName("small")] = value
}

// values returns what a server shows, as soon as it can.
func (c *contest) values(of *server) map[string]string {
	c.t.Helper()
	var now client.Values
	eventually(c.t, "answer from "+of.address(), func() (ok bool) {
		var err error
		now, _, err = of.operator().Values(c.t.Context(), of.orgID, nil)
		return err == nil
	})
	return short(now.Secrets)
}

// made finds out whether a change was made, as a whole.
func (c *contest) made(by *server, large map[string]string) bool {
	c.t.Helper()
	got, with := c.values(by), maps.Clone(c.want)
	maps.Copy(with, short(large))
	if maps.Equal(got, with) {
		c.want = with
		return true
	}
	if !maps.Equal(got, c.want) {
		c.t.Errorf("%s has %q, want %q, maybe with %q", by.address(), got, c.want, short(large))
	}
	return false
}

// check checks that all servers show what is wanted.
func (c *contest) check() {
	c.t.Helper()
	for _, x := range c.all {
		if got := c.values(x); !maps.Equal(got, c.want) {
			c.t.Errorf("%s has %q, want %q", x.address(), got, c.want)
		}
	}
}

// stopDuring stops the server during a large change that it makes, at a moment at which
// holds is true. It returns the change, and where its answer will come.
func (c *contest) stopDuring(name string, holds func() bool) (large map[string]string, answered chan reply) {
	c.t.Helper()
	for attempt := range 50 {
		large, answered = map[string]string{}, make(chan reply, 1)
		for i := range 6 {
			large[c.held.secretName(fmt.Sprint("large", i))] = c.held.private(fmt.Sprint(name, attempt)) + "|" + strings.Repeat("x", 1<<20-1000)
		}
		go func() { answered <- c.held.ask("PATCH", c.path, c.held.token, object{"data": large}) }()
		// Its records are moved after the answer.
		for now := c.newest(); len(answered) == 0 || now.Large != nil; now = c.newest() {
			if c.stop(c.held, holds) {
				return large, answered
			}
		}
		if a := <-answered; !a.ok() {
			c.t.Fatal(a)
		}
		maps.Copy(c.want, short(large)) // it was too fast
	}
	c.t.Fatal("the server could not be stopped during a large change")
	return nil, nil
}

// locked reports whether the server has locked etcd for a large change.
func (c *contest) locked() bool {
	now := c.newest()
	return now.Large != nil && now.Large.Chunks == 0 && now.By == c.incarnation(c.held)
}

// checkLogs stops the servers and checks that each version is in their audit logs once.
func (c *contest) checkLogs() {
	c.t.Helper()
	var newest struct {
		Data struct{ Metadata struct{ Version uint64 } }
	}
	c.held.ask("GET", c.path, c.held.token, nil).into(&newest)
	for _, x := range c.all {
		x.stop()
	}
	checkLogs(c.t, c.all, map[string]uint64{c.held.orgID: newest.Data.Metadata.Version})
}

// TestStoppedServer stops a server that holds what others need, and lets it go on later.
func TestStoppedServer(t *testing.T) {
	long(t, "waits for leases to end")
	t.Parallel()
	c := newContest(t)
	for _, test := range []struct {
		name  string
		until func() bool
	}{
		{"large change", func() bool { return true }},
		{"large change, and its lease ends", func() bool { return c.incarnation(c.held) == "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			large, answered := c.stopDuring(test.name, c.locked)
			locked := c.newest()
			for _, x := range c.others {
				c.made(x, large) // if the commit was under way already
				c.change(x, test.name)
			}
			if now := c.newest(); now.Large != nil && locked.Large != nil && now.Large.ID == locked.Large.ID {
				t.Error("the large change is still there after changes by others")
			}
			eventually(t, "reason to go on", test.until)
			c.held.resume()
			a := <-answered
			if made := c.made(c.held, large); a.ok() && !made || !a.ok() && a.status != 503 {
				t.Errorf("the change was made: %t; the server that was stopped answers %v", made, a)
			}
			t.Logf("it answers %d", a.status)
			c.check()
		})
	}

	t.Run("turn", func(t *testing.T) {
		org, err := c.held.operator().CreateOrganization(t.Context(), c.held.private("busy"), "")
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for i, x := range c.all {
			busy.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
						x.ask("PATCH", influxPath(org.ID), x.token, object{x.secretName(fmt.Sprint("busy", i)): fmt.Sprint(n)})
					}
				}
			})
		}
		me := c.incarnation(c.held)
		eventually(t, "turn of the server", func() bool {
			return c.stop(c.held, func() bool { now := c.newest(); return len(now.Wait) > 0 && now.Wait[0] == me })
		})
		for range 3 {
			for _, x := range c.others {
				c.change(x, "while a turn is not taken")
			}
		}
		c.held.resume()
		c.change(c.held, "after its turn")
		close(stop)
		busy.Wait()
		c.check()
	})
	c.checkLogs()
}

// TestDeadServer kills a server at each step of a large change. The others and a new server
// show the old state or the new one, and nothing of the change stays behind.
func TestDeadServer(t *testing.T) {
	long(t, "waits for locks to end")
	t.Parallel()
	c := newContest(t)
	moving := func(from int) func() bool {
		return func() bool {
			now := c.newest()
			return now.Large != nil && now.Large.Chunks > 0 && now.Large.Moved >= from
		}
	}
	for _, test := range []struct {
		name  string
		holds func() bool
		made  bool
	}{
		{"locked", func() bool { return c.locked() && c.chunks() == 0 }, false},
		{"some uploaded", func() bool { return c.locked() && c.chunks() > 1 }, false},
		{"committed", moving(0), true},
		{"some moved", moving(2), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			large, answered := c.stopDuring(test.name, test.holds)
			c.held.kill()
			<-answered
			for _, x := range c.others {
				if made := c.made(x, large); test.made && !made {
					t.Error("the change was committed, and is not there")
				}
				c.change(x, test.name)
			}
			eventually(t, "end of the large change", func() bool { return c.newest().Large == nil && c.chunks() == 0 })
			c.held.again()
			c.check()
		})
	}
	fresh := start(t, c.held.args[4:]...)
	fresh.shares(c.held)
	c.all = append(c.all, fresh)
	c.check()
	c.checkLogs()
}
