//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// A take-over is tried with each of these steps as the last one of a server. The tables
// in the names are the outbox (a), the lists of what was taken over (k) and the
// checkpoints of the logs (z).
var (
	// deaths are how the first server dies: with a record that is only in the store, or
	// also in its log.
	deaths = []string{"audit.write.before", "change.az.before"}
	// takerDeaths are how the server dies that takes its records over, "" for not at all.
	takerDeaths = []string{
		"", "change.*k*.before", "change.*k*.after",
		"audit.write.before", "audit.write.after", "audit.sync.before", "audit.sync.after",
		"change.az.before", "change.az.after",
	}
	// backDeaths are how the first server dies when it is back.
	backDeaths = []string{
		"", "audit.write.before", "audit.write.after", "audit.sync.before", "audit.sync.after",
		"change.*k*.before", "change.*k*.after",
	}
)

// TestTakeOver kills a server, the one that takes its audit records over, and the first
// one again when it is back, at each step. Afterwards, each change is in the logs, and
// counts once.
func TestTakeOver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; skipped with -short")
	}
	t.Parallel()
	program := filepath.Join(t.TempDir(), "fluxkeep")
	if err := build(t.Context(), program, "failpoints"); err != nil {
		t.Fatal(err)
	}
	etcd := etcdtest.Start(t, etcdtest.Options{})
	var all sync.WaitGroup // at once, since they mostly wait for leases to end
	for i := range len(takerDeaths) * len(deaths) {
		x := &takeOver{
			death: deaths[i%len(deaths)], takerDeath: takerDeaths[i/len(deaths)], backDeath: backDeaths[i%len(backDeaths)],
			taker: newPartner(t, program, etcd, i), gone: newPartner(t, program, etcd, i),
		}
		x.gone.args = x.taker.args
		all.Go(func() {
			defer x.taker.leave()
			defer x.gone.leave()
			if err := x.run(t.Context()); err != nil {
				t.Errorf("one server dies at %s, the other at %q, and the first at %q: %v", x.death, x.takerDeath, x.backDeath, err)
			}
		})
	}
	all.Wait()
}

func newPartner(t *testing.T, program string, etcd *etcdtest.Cluster, i int) *site {
	run := t.TempDir()
	return &site{program: program, dir: filepath.Join(run, "data"), run: run, args: []string{
		"--store", "etcd", "--etcd-endpoints", strings.Join(etcd.Endpoints(), ","), "--etcd-prefix", fmt.Sprintf("/take-over-%d/", i),
		"--key-file", filepath.Join(run, "key"),
	}}
}

// takeOver is one take-over by two servers.
type takeOver struct {
	taker, gone                  *site
	death, takerDeath, backDeath string
	token, org                   string
	changes                      int
}

func (x *takeOver) run(ctx context.Context) error {
	taker, err := x.taker.start(ctx)
	if err != nil {
		return err
	}
	if err := x.setUp(ctx, taker); err != nil {
		return err
	}
	gone, err := x.gone.start(ctx)
	if err != nil {
		return err
	}
	// The first server dies, with the outcome of a change unknown.
	if err := x.gone.arm("kill " + x.death); err != nil {
		return err
	}
	if err := eventually(ctx, "killed", func() error {
		select {
		case <-gone.exited:
			return nil
		default:
			return errors.Join(errors.New("the server lives"), x.change(ctx, gone))
		}
	}); err != nil {
		return err
	}
	if err := gone.dead(); err != nil {
		return err
	}
	newest, err := x.newest(ctx, taker)
	if err != nil {
		return err
	}

	if x.takerDeath != "" {
		if err := x.taker.arm("kill " + x.takerDeath); err != nil {
			return err
		}
		if err := taker.dead(); err != nil {
			return err
		}
		if taker, err = x.taker.restart(ctx); err != nil {
			return err
		}
	}
	if err := eventually(ctx, "with the records taken over", func() error {
		records, err := newAuditLog(x.taker.auditLog()).read()
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.For != "" && r.Version == newest {
				return nil
			}
		}
		return fmt.Errorf("no record of version %d", newest)
	}); err != nil {
		return err
	}

	if x.backDeath != "" {
		if err := x.gone.arm("kill " + x.backDeath); err != nil {
			return err
		}
		gone, err := x.gone.start(ctx)
		if err == nil {
			err = gone.dead()
		}
		if err != nil && !errors.Is(err, errKilled) {
			return err
		}
	}
	if gone, err = x.gone.restart(ctx); err != nil {
		return err
	}
	for _, p := range []*process{gone, taker} {
		if err := eventually(ctx, "able to make a change", func() error { return x.change(ctx, p) }); err != nil {
			return err
		}
	}
	if newest, err = x.newest(ctx, taker); err != nil {
		return err
	}
	if err := errors.Join(gone.stop(), taker.stop()); err != nil {
		return err
	}
	return x.check(ctx, newest)
}

func (x *takeOver) setUp(ctx context.Context, p *process) error {
	var made struct {
		Auth struct{ Token string }
		Org  struct{ ID string }
	}
	in := map[string]string{"username": "admin", "password": "a long password", "org": "first", "bucket": "b"}
	if err := (&api{url: p.url, http: newHTTP()}).do(ctx, "POST", "/api/v2/setup", in).in(&made); err != nil {
		return err
	}
	x.token, x.org = made.Auth.Token, made.Org.ID
	return nil
}

// change makes a change, which is a new version.
func (x *takeOver) change(ctx context.Context, p *process) error {
	x.changes++
	in := map[string]string{"name": fmt.Sprint(x.changes)}
	return (&api{p.url, x.token, newHTTP()}).do(ctx, "PATCH", influxPath(x.org), in).in(nil)
}

// newest returns the newest version.
func (x *takeOver) newest(ctx context.Context, p *process) (newest uint64, err error) {
	err = eventually(ctx, "answered", func() error {
		d, ok, err := documentOf((&api{p.url, x.token, newHTTP()}).do(ctx, "GET", vaultKV+"/data/"+x.org, nil))
		if err == nil && !ok {
			err = errors.New("there are no secrets")
		}
		newest = d.version
		return err
	})
	return newest, err
}

// check checks that the logs fit together and have each version up to the newest one,
// and that records in both logs are those that were in both before.
func (x *takeOver) check(ctx context.Context, newest uint64) error {
	logs := []string{x.taker.auditLog(), x.gone.auditLog()}
	out, err := exec.CommandContext(ctx, x.taker.program, append([]string{"audit", "verify"}, logs...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("audit verify: %w\n%s", err, out)
	}
	ids := map[uint64]string{}
	var taken, explained, copies int
	for _, log := range logs {
		records, err := newAuditLog(log).read()
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.For != "" {
				taken++
			}
			if r.Action == "audit.taken-over" {
				explained++
			}
			if !r.makesVersion() {
				continue
			}
			switch ids[r.Version] {
			case "":
				ids[r.Version] = r.ID
			case r.ID:
				copies++
			default:
				return fmt.Errorf("%s: the same version has another record, %s", r, ids[r.Version])
			}
		}
	}
	for v := range newest {
		if ids[v+1] == "" {
			return fmt.Errorf("version %d of %d is in no log", v+1, newest)
		}
	}
	if len(ids) != int(newest) {
		return fmt.Errorf("the logs have %d versions of %d", len(ids), newest)
	}
	logged := x.death != deaths[0]
	if taken == 0 || explained == 0 || (copies > 0) != logged {
		return fmt.Errorf("%d records were taken over, with %d entries that say so; %d are in both logs", taken, explained, copies)
	}
	return nil
}

// dead waits until the server has been killed at a place.
func (p *process) dead() error {
	if !p.gone() {
		return errors.Join(errors.New("the server isn't killed"), p.kill())
	}
	if err := p.ended(); !errors.Is(err, errKilled) {
		return err
	}
	return nil
}

// restart starts the server without failures.
func (s *site) restart(ctx context.Context) (*process, error) {
	if err := s.arm(""); err != nil {
		return nil, err
	}
	return s.start(ctx)
}

func (s *site) auditLog() string { return filepath.Join(s.dir, "audit.log") }
