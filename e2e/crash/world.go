package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// world is a server's data folder, its users, and the model of its state.
type world struct {
	config config
	site   *site
	http   *http.Client
	random *rand.Rand // used only by the goroutine that runs the lives
	counts *counts

	operator string // the token for checks
	orgs     []*org
	workers  []*worker
	prober   *worker // checks how requests are answered; not part of the load
	log      *auditLog
	records  []*record // read from the log, but not checked yet

	clock  atomic.Int64 // orders requests and answers
	left   atomic.Int64 // answers until the server is killed at a random moment
	broken atomic.Bool  // the disk is broken, so 503 is allowed

	mu      sync.Mutex
	problem error // the first problem that a worker found
}

// org is an organization with the model of its secrets.
type org struct {
	id, name string
	keep     int  // number of versions
	large    bool // has a few large values
	deletes  bool // versions are also deleted and undeleted

	// newest is the newest version that was reported to any worker.
	newest atomic.Uint64
	model  model
}

// told notes that a version was reported.
func (o *org) told(version uint64) {
	for {
		v := o.newest.Load()
		if version <= v || o.newest.CompareAndSwap(v, version) {
			return
		}
	}
}

// wrong records a problem that a worker found.
func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.problem == nil {
		w.problem = fmt.Errorf(format, args...)
	}
}

func (w *world) found() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.problem
}

// newWorld starts a server with organizations and tokens. The data folder is
// dir.
func newWorld(ctx context.Context, c config, dir, run string, n *counts) (*world, *process, error) {
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, nil, err
	}
	w := &world{
		config: c, site: &site{program: c.program, dir: dir, run: run}, counts: n, http: newHTTP(),
		random: rand.New(rand.NewPCG(c.seed, uint64(len(dir)))),
		log:    newAuditLog(filepath.Join(dir, "audit.log")),
	}
	p, err := w.site.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	n.starts++
	if err := w.setUp(ctx, p); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("set up: %w", err), p.kill())
	}
	return w, p, nil
}

func (w *world) setUp(ctx context.Context, p *process) error {
	a := w.api(p)
	var first struct {
		Auth struct{ Token string }
	}
	in := map[string]string{"username": "admin", "password": "a long password", "org": "first", "bucket": "b"}
	if err := a.do(ctx, "POST", "/api/v2/setup", in).in(&first); err != nil {
		return err
	}
	w.operator = first.Auth.Token
	a = w.api(p)
	for _, o := range []*org{
		{name: "many versions", keep: 2000, deletes: true},
		{name: "many versions too", keep: 2000, deletes: true},
		{name: "few versions", keep: 10},
		{name: "large values", keep: 4, large: true},
	} {
		var made struct{ ID string }
		if err := a.do(ctx, "POST", "/api/v2/orgs", map[string]string{"name": o.name}).in(&made); err != nil {
			return err
		}
		o.id, o.model = made.ID, newModel()
		if err := a.do(ctx, "POST", vaultKV+"/metadata/"+o.id, map[string]int{"max_versions": o.keep}).in(nil); err != nil {
			return err
		}
		w.orgs = append(w.orgs, o)
	}
	for i := range w.config.writers + w.config.readers + 1 {
		k := &worker{world: w, name: fmt.Sprintf("w%02d", i), reader: i >= w.config.writers, random: rand.New(rand.NewPCG(w.config.seed, uint64(i)))}
		if err := w.newToken(ctx, a, k); err != nil {
			return err
		}
		w.workers = append(w.workers, k)
	}
	w.prober = w.workers[len(w.workers)-1]
	return nil
}

// newToken gives a worker its own token, which identifies it in the audit log.
func (w *world) newToken(ctx context.Context, a *api, k *worker) error {
	type resource struct {
		Type string `json:"type"`
	}
	type permission struct {
		Action   string   `json:"action"`
		Resource resource `json:"resource"`
	}
	in := struct {
		OrgID       string       `json:"orgID"`
		Permissions []permission `json:"permissions"`
	}{w.orgs[0].id, []permission{{"read", resource{"orgs"}}, {"read", resource{"secrets"}}, {"write", resource{"secrets"}}}}
	var made struct{ ID, Token string }
	if err := a.do(ctx, "POST", "/api/v2/authorizations", in).in(&made); err != nil {
		return err
	}
	k.tokenID, k.token = made.ID, made.Token
	return nil
}

// api returns a client for checks.
func (w *world) api(p *process) *api { return &api{p.url, w.operator, w.http} }

// load runs the workers until ctx ends or the server dies.
func (w *world) load(ctx context.Context, p *process) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, k := range w.workers[:len(w.workers)-1] { // without the prober
		all.Go(func() {
			k.meet(p)
			a := &api{p.url, k.token, w.http}
			for ctx.Err() == nil && w.found() == nil && k.work(a) {
			}
		})
	}
	all.Wait()
}
