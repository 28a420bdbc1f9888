package keeptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// Faults sends requests to a protocol's handler while the store under the
// domain fails at one operation after the other.
//
// Each request is first sent without a fault, and then, from the same initial state,
// once for every store operation that it needs, with that operation failing: each
// transaction, and each read and write within one. A durable change fails a second time
// by being reported as failed. In all cases, a request must not change only a part, must
// not report success falsely, and must be in the audit log exactly as its change is in
// the store.
type Faults struct {
	Kit *Kit
	// Handler is the protocol's handler.
	Handler http.Handler
	// Refused returns an error if an answer doesn't have the protocol's form for an
	// unavailable store.
	Refused func(Answer) error

	plan     *plan // of the request that is sent
	request  string
	before   state // before and after the last one without faults
	after    state
	requests int
	trials   []trial
	count    FaultCount
}

// FaultCount counts the work of Faults.
type FaultCount struct {
	Requests int // without faults
	Injected int // faults
	Survived int // answered as without the fault
}

// Answer is a handler's answer.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// trial is a request whose audit records are checked at the end.
type trial struct {
	what    string
	request string
	change  string // the request without faults that made the change
	made    bool   // whether this request made it too
}

// NewFaults returns a kit whose store fails as planned.
func NewFaults(tb testing.TB, o *Options) *Faults {
	tb.Helper()
	with := Options{}
	if o != nil {
		with = *o
	}
	with.Wrap = func(s store.Store) store.Store { return &planned{storetest.Faulty(s, nil)} }
	configure := with.Configure
	with.Configure = func(c *keep.Config) {
		c.CacheBytes = -2 // caches would hide that the state is restored between requests
		if configure != nil {
			configure(c)
		}
	}
	f := &Faults{Kit: New(tb, &with), plan: &plan{}}
	tb.Cleanup(func() {
		if !tb.Failed() {
			f.checkAudit(tb)
		}
	})
	return f
}

// Count returns the counts so far.
func (f *Faults) Count() FaultCount { return f.count }

// attempt is a path at which a password or a token may be guessed.
var attempt = regexp.MustCompile(`/(signin|password|login)$`)

// ServeHTTP is the Handler within the server's layers.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if attempt.MatchString(r.URL.Path) {
		f.Kit.Clock.Advance(10 * time.Second) // attempts are limited
	}
	ctx := httpapi.WithExchange(r.Context(), &httpapi.Exchange{Origin: httpapi.Origin{Remote: "192.0.2.1", Request: f.request}})
	f.Handler.ServeHTTP(w, r.WithContext(context.WithValue(ctx, planKey{}, f.plan)))
}

// Try sends a request without and with faults, and returns the answer without faults.
// send sends it to f once. Afterwards, the state is the one without faults.
func (f *Faults) Try(tb testing.TB, what string, send func() Answer) Answer {
	tb.Helper()
	before := f.state(tb)
	right := f.send(&plan{}, send)
	after, change := f.state(tb), f.request
	f.before, f.after = before, after
	f.count.Requests++
	steps, transactions := int(f.plan.done.Load()), f.plan.transactions
	fault := func(n int, applied bool) {
		p := &plan{at: int64(n), applied: applied}
		f.restore(tb, f.state(tb), before)
		got := f.send(p, send)
		if !p.hit.Load() {
			return
		}
		f.count.Injected++
		where := fmt.Sprintf("%s, operation %d of %d, applied %t", what, n, steps, applied)
		made := f.judge(tb, where, got, right)
		if made && !applied && got.Status != right.Status {
			tb.Errorf("%s: answered %d, and the change was made", where, got.Status)
		}
		if !maps.Equal(before.raw, after.raw) {
			f.trials = append(f.trials, trial{where, f.request, change, made})
		}
	}
	first, stride := 1, 1
	if testing.Short() { // a different part for each request
		stride = 8
		first += f.count.Requests % stride
	}
	for n := first; n <= steps && !tb.Failed(); n += stride {
		fault(n, false)
		if slices.Contains(transactions, int64(n)) {
			fault(n, true)
		}
	}
	f.restore(tb, f.state(tb), after)
	return right
}

// judge checks the answer to a request with a fault, and its effect. It reports whether
// the request's change was made.
func (f *Faults) judge(tb testing.TB, where string, got, right Answer) (made bool) {
	tb.Helper()
	now := f.state(tb)
	made = !maps.Equal(now.raw, f.before.raw)
	if made && now.shape != f.after.shape {
		tb.Errorf("%s: the state is neither that before nor that after:\n%s", where, difference(f.after.shape, now.shape))
	}
	if got.Status == right.Status {
		f.count.Survived++
		if !made && !maps.Equal(f.before.raw, f.after.raw) {
			tb.Errorf("%s: answered %d, and nothing was changed", where, got.Status)
		}
		return made
	}
	if err := plainRefusal(got); err != nil {
		tb.Errorf("%s: %d %s: %v", where, got.Status, got.Body, err)
	}
	if err := f.Refused(got); err != nil {
		tb.Errorf("%s: %d %s: %v", where, got.Status, got.Body, err)
	}
	return made
}

// Undo restores the state before the last Try.
func (f *Faults) Undo(tb testing.TB) {
	tb.Helper()
	f.restore(tb, f.state(tb), f.before)
}

func (f *Faults) send(p *plan, send func() Answer) Answer {
	f.requests++
	f.request, f.plan = fmt.Sprintf("request-%d", f.requests), p
	return send()
}

// Record sends a request to f and returns the answer.
func (f *Faults) Record(r *http.Request) Answer {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return Answer{w.Code, w.Header(), w.Body.String()}
}

// state is the content of the store, except for records that change by themselves.
type state struct {
	raw   map[string]string
	shape string // the records' content without random parts
}

var byChance = regexp.MustCompile(`[0-9a-f]{16}|\d{4}-\d\d-\d\dT[0-9:.]+Z|"(hash|password|imported)":("[^"]*"|\[[^]]*\])|"rev":\d{12,}`)

func (f *Faults) state(tb testing.TB) state {
	tb.Helper()
	s := state{raw: map[string]string{}}
	var shapes []string
	err := f.Kit.store.View(context.Background(), func(r store.Reader) error {
		return r.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
			if changesByItself(key) {
				return true, nil
			}
			plain, err := record.Open(f.Kit.keys, key, sealed)
			s.raw[string(key)] = string(sealed)
			if record.TableOf(key) == record.TableSecret && len(plain) > 26 {
				clear(plain[2:26]) // time, user and token
			}
			shapes = append(shapes, fmt.Sprintf("%c %q", key[0], byChance.ReplaceAllString(string(plain), "…")))
			return true, err
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(shapes)
	s.shape = strings.Join(shapes, "\n")
	return s
}

// restore restores the store's content.
func (f *Faults) restore(tb testing.TB, now, then state) {
	tb.Helper()
	if maps.Equal(now.raw, then.raw) {
		return
	}
	err := f.Kit.store.Update(context.Background(), func(w store.Tx) error {
		for key := range now.raw {
			if _, stays := then.raw[key]; !stays {
				if err := w.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		for key, value := range then.raw {
			if now.raw[key] == value {
				continue
			}
			if err := w.Set([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = record.New(f.Kit.store, f.Kit.keys, time.Now).Accept(context.Background(), secretmap.WriteSums)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// difference returns the lines in which two texts differ.
func difference(want, got string) string {
	count := map[string]int{}
	for line := range strings.SplitSeq(want, "\n") {
		count[line]--
	}
	for line := range strings.SplitSeq(got, "\n") {
		count[line]++
	}
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if n := count[line]; n != 0 {
			fmt.Fprintf(&b, "%+d %s\n", n, line)
		}
	}
	return b.String()
}

// checkAudit closes the kit, and compares the audit records of the requests with faults
// with those of the same requests without: a change has exactly one record if it was
// made, and none otherwise.
func (f *Faults) checkAudit(tb testing.TB) {
	tb.Helper()
	f.Kit.CheckAudit(tb)
	log, err := os.ReadFile(f.Kit.Audit)
	if err != nil {
		tb.Fatal(err)
	}
	allowed := map[string][]string{} // actions of each request
	for line := range bytes.Lines(log) {
		var rec struct{ Request, Action, Outcome string }
		if err := json.Unmarshal(line, &rec); err != nil {
			tb.Fatal(err)
		}
		if rec.Outcome == "allowed" {
			allowed[rec.Request] = append(allowed[rec.Request], rec.Action)
		}
	}
	for _, t := range f.trials {
		want, got := allowed[t.change], allowed[t.request]
		if len(want) == 0 {
			tb.Errorf("%s: the audit log does not have it without the fault", t.what)
			continue
		}
		// The others are records of preparatory reads.
		change := want[0]
		for _, action := range want {
			if !strings.HasSuffix(action, ".read") && !strings.HasSuffix(action, ".list") {
				change = action
			}
		}
		has := 0
		for _, action := range got {
			if action == change {
				has++
			}
		}
		if expected := map[bool]int{true: 1, false: 0}[t.made]; has != expected {
			tb.Errorf("%s: changed: %t, and the audit log has %d records of %s: %v", t.what, t.made, has, change, got)
		}
	}
}

// plan selects the operation of a request that fails.
type plan struct {
	at      int64 // from 1; 0 for none
	applied bool  // the transaction is committed but reported as failed
	done    atomic.Int64
	hit     atomic.Bool
	// transactions are the operations that can be committed and reported as failed.
	transactions []int64
}

type planKey struct{}

var errPlanned = fmt.Errorf("%w: disk sda1: planned by the test", store.ErrUnavailable)

// fails counts an operation and reports whether it fails.
func (p *plan) fails(transaction bool) bool {
	n := p.done.Add(1)
	if transaction {
		p.transactions = append(p.transactions, n)
	}
	if n != p.at || p.applied && !transaction {
		return false
	}
	p.hit.Store(true)
	return true
}

// planned is a store that fails according to the plan in the context. Operations without
// a plan, such as background work, never fail.
type planned struct{ store.Store }

func (s *planned) View(ctx context.Context, fn func(store.Reader) error) error {
	p, ok := ctx.Value(planKey{}).(*plan)
	if !ok {
		return s.Store.View(ctx, fn)
	}
	if p.fails(false) {
		return errPlanned
	}
	return s.Store.View(ctx, func(r store.Reader) error { return fn(&plannedReader{r, p}) })
}

func (s *planned) Update(ctx context.Context, fn func(store.Tx) error) error {
	p, ok := ctx.Value(planKey{}).(*plan)
	if !ok {
		return s.Store.Update(ctx, fn)
	}
	if p.fails(true) {
		fault := storetest.NotApplied
		if p.applied {
			fault = storetest.Applied
		}
		ctx = storetest.WithFault(ctx, fault)
	}
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(&plannedTx{tx, plannedReader{tx, p}}) })
}

type plannedReader struct {
	store.Reader
	plan *plan
}

func (r *plannedReader) Get(key []byte) ([]byte, error) {
	if r.plan.fails(false) {
		return nil, errPlanned
	}
	return r.Reader.Get(key)
}

func (r *plannedReader) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	if r.plan.fails(false) {
		return errPlanned
	}
	return r.Reader.Scan(from, to, fn)
}

type plannedTx struct {
	store.Tx
	r plannedReader
}

func (t *plannedTx) Get(key []byte) ([]byte, error) { return t.r.Get(key) }

func (t *plannedTx) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return t.r.Scan(from, to, fn)
}

func (t *plannedTx) Set(key, value []byte) error {
	if t.r.plan.fails(false) {
		return errPlanned
	}
	return t.Tx.Set(key, value)
}

func (t *plannedTx) Delete(key []byte) error {
	if t.r.plan.fails(false) {
		return errPlanned
	}
	return t.Tx.Delete(key)
}

func (t *plannedTx) DeleteRange(from, to []byte) error {
	if t.r.plan.fails(false) {
		return errPlanned
	}
	return t.Tx.DeleteRange(from, to)
}

// plainRefusal checks the parts of a refusal that all protocols share.
func plainRefusal(a Answer) error {
	if a.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("status %d, want 503", a.Status)
	}
	for _, internal := range []string{"sda1", "planned", "store:", "goroutine", ".go:"} {
		if strings.Contains(a.Body, internal) {
			return errors.New("it shows internals")
		}
	}
	return nil
}
