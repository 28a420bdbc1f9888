//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

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
		ID     string
		Chunks int // 0 while it isn't committed
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

// TestStoppedServer stops a server that holds what others need, and lets it go on later.
func TestStoppedServer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for leases to end; skipped with -short")
	}
	t.Parallel()
	s := startServers(t, 1, 3)
	for _, x := range s.all {
		x.troubled = true
	}
	c := claims{t, s.etcd}
	held, others := s.all[0], s.all[1:]
	vault := vaultPath(held.orgID)
	want := map[string]string{held.secretName("small"): held.private("first")}
	held.set(want)
	change := func(by *server, value string) {
		t.Helper()
		value = by.private(value + " " + by.address())
		eventually(t, "change by "+by.address(), func() bool {
			return by.ask("PATCH", vault, by.token, object{"data": object{by.secretName("small"): value}}).ok()
		})
		want[by.secretName("small")] = value
	}
	check := func() {
		t.Helper()
		for _, x := range s.all {
			eventually(t, "server that is ready", func() bool { return x.ask("GET", "/ready", "", nil).status == 200 })
			if got := short(x.values()); !maps.Equal(got, want) {
				t.Errorf("%s has %q, want %q", x.address(), got, want)
			}
		}
	}

	// lockAndStop stops the server while it has locked etcd for a large change. It returns
	// the change, and where its answer will come.
	lockAndStop := func(t *testing.T) (large map[string]string, answered chan reply) {
		t.Helper()
		locked := func() bool {
			now := c.newest()
			return now.Large != nil && now.Large.Chunks == 0 && now.By == c.incarnation(held)
		}
		for attempt := range 50 {
			large, answered = map[string]string{}, make(chan reply, 1)
			for i := range 6 {
				large[held.secretName(fmt.Sprint("large", i))] = held.private(fmt.Sprint(t.Name(), attempt)) + "|" + strings.Repeat("x", 1<<20-1000)
			}
			go func() { answered <- held.ask("PATCH", vault, held.token, object{"data": large}) }()
			for len(answered) == 0 {
				if c.stop(held, locked) {
					return large, answered
				}
			}
			if a := <-answered; !a.ok() {
				t.Fatal(a)
			}
			maps.Copy(want, short(large)) // it was too fast
		}
		t.Fatal("the lock of a large change was never seen")
		return nil, nil
	}
	for _, test := range []struct {
		name  string
		until func() bool
	}{
		{"large change", func() bool { return true }},
		{"large change, and its lease ends", func() bool { return c.incarnation(held) == "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			large, answered := lockAndStop(t)
			locked := c.newest()
			for _, x := range others {
				if got := short(x.values()); !maps.Equal(got, want) {
					t.Errorf("before the large change is made, %s has %q", x.address(), got)
				}
				change(x, test.name)
			}
			if now := c.newest(); now.Large != nil && now.Large.ID == locked.Large.ID {
				t.Error("the large change is still there after changes by others")
			}
			eventually(t, "reason to go on", test.until)
			held.resume()
			a := <-answered
			if a.ok() || a.status == 503 && held.values()[held.secretName("large0")] == large[held.secretName("large0")] {
				maps.Copy(want, short(large)) // made again, after the others' changes
			} else if a.status != 503 {
				t.Errorf("the server that was stopped answers %v", a)
			}
			t.Logf("it answers %d", a.status)
			check()
		})
	}

	t.Run("turn", func(t *testing.T) {
		org, err := held.operator().CreateOrganization(t.Context(), held.private("busy"), "")
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for i, x := range s.all {
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
		me := c.incarnation(held)
		eventually(t, "turn of the server", func() bool {
			return c.stop(held, func() bool { now := c.newest(); return len(now.Wait) > 0 && now.Wait[0] == me })
		})
		for range 3 {
			for _, x := range others {
				change(x, "while a turn is not taken")
			}
		}
		held.resume()
		change(held, "after its turn")
		close(stop)
		busy.Wait()
		check()
	})

	var newest struct {
		Data struct{ Metadata struct{ Version uint64 } }
	}
	held.ask("GET", vault, held.token, nil).into(&newest)
	for _, x := range s.all {
		x.stop()
	}
	s.checkLogs(map[string]uint64{held.orgID: newest.Data.Metadata.Version})
}
