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

// world is a server's data folder, those who use it, and what is known of it.
type world struct {
	config config
	site   *site
	http   *http.Client
	random *rand.Rand // of the one goroutine that runs the lives
	counts *counts

	operator string // the token of who looks
	orgs     []*org
	workers  []*worker
	prober   *worker // looks at how requests go; not one of those that load
	log      *auditLog
	records  []*record // read of the log, and not checked yet

	clock  atomic.Int64 // orders what is sent and what is answered
	broken atomic.Bool  // the disk is: 503 is an answer

	mu      sync.Mutex
	problem error // the first thing that a worker found wrong
}

// org is an organization, and the model of its secrets.
type org struct {
	id, name string
	keep     int  // versions
	large    bool // has a few large values
	deletes  bool // its versions are deleted and undeleted too

	// newest is the newest version that anybody was told of.
	newest atomic.Uint64
	model  model
}

// told notes that somebody was told of a version.
func (o *org) told(version uint64) {
	for {
		v := o.newest.Load()
		if version <= v || o.newest.CompareAndSwap(v, version) {
			return
		}
	}
}

// wrong notes what a worker found wrong.
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

// newWorld makes a server with organizations and tokens, which runs when it
// returns. The data folder is dir.
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

// newToken gives a worker a token of its own, so that the log tells it from
// others.
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

// api is the view of who looks.
func (w *world) api(p *process) *api { return &api{p.url, w.operator, w.http} }

// load lets everybody work until ctx ends or the server dies.
func (w *world) load(ctx context.Context, p *process) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, k := range w.workers[:len(w.workers)-1] { // without the prober
		all.Go(func() {
			a := &api{p.url, k.token, w.http}
			for ctx.Err() == nil && w.found() == nil && k.work(a) {
			}
		})
	}
	all.Wait()
}
