package keep_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// cluster is what the servers on one store know of each other.
type cluster struct {
	mu        sync.Mutex
	running   []keep.ID
	leader    keep.ID
	followers map[keep.ID]keep.Follower
}

func newCluster() *cluster { return &cluster{followers: map[keep.ID]keep.Follower{}} }

func (c *cluster) start(id keep.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = append(c.running, id)
}

func (c *cluster) stop(id keep.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = slices.DeleteFunc(c.running, func(r keep.ID) bool { return r == id })
}

func (c *cluster) lead(id keep.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = id
}

// member is a server's part in a cluster.
type member struct {
	*cluster
	id keep.ID
}

func (m member) Self() keep.ID { return m.id }

func (m member) Running(context.Context) ([]keep.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.running), nil
}

func (m member) Leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leader == m.id
}

func (member) Status(context.Context) (keep.ClusterStatus, error) { return keep.ClusterStatus{}, nil }

func (m member) Follow(f keep.Follower) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followers[m.id] = f
}

// published tells all servers about a change of one.
func (m member) published(keys [][]byte) {
	m.mu.Lock()
	followers := maps.Clone(m.followers)
	m.mu.Unlock()
	for id, f := range followers {
		if id != m.id {
			f.Made(followers[m.id].Now())
		}
		for _, key := range keys {
			f.Changed(key)
		}
	}
}

// memberStore is the store as one of the servers sees it.
type memberStore struct {
	sharedStore
	member
}

func (s memberStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	var keys [][]byte
	err := s.sharedStore.Update(ctx, func(tx store.Tx) error {
		keys = nil
		return fn(&notingTx{tx, &keys})
	})
	if err == nil {
		s.published(keys)
	}
	return err
}

// notingTx notes which keys are set.
type notingTx struct {
	store.Tx
	keys *[][]byte
}

func (t *notingTx) Set(key, value []byte) error {
	*t.keys = append(*t.keys, bytes.Clone(key))
	return t.Tx.Set(key, value)
}

const serverA, serverB keep.ID = 0xa1, 0xb1

// twoServers starts two servers on one store. None of them leads.
func twoServers(t *testing.T) (a, b *keeptest.Kit, c *cluster) {
	c = newCluster()
	a = keeptest.New(t, c.options(serverA))
	return a, a.Beside(t, c.options(serverB)), c
}

func (c *cluster) options(id keep.ID) *keeptest.Options {
	c.start(id)
	return &keeptest.Options{
		KeysInStore: true,
		Wrap:        func(s store.Store) store.Store { return memberStore{sharedStore{s}, member{c, id}} },
		Configure:   func(k *keep.Config) { k.Cluster = member{c, id} },
	}
}

// TestOtherServersChanges checks that what one server acknowledged is what the next
// answer of another shows, whatever that one has in its caches.
func TestOtherServersChanges(t *testing.T) {
	a, b, _ := twoServers(t)
	token := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org)})
	for _, servers := range [][2]*keeptest.Kit{{a, b}, {b, a}} {
		here, there := servers[0], servers[1]
		for _, value := range []string{"1", "2", "3"} {
			here.MustChange(t, set("name", value))
			if got := there.MustValues(t)["name"]; got != value {
				t.Fatalf("the other server shows %q, want %q", got, value)
			}
		}
		// Both write to one map in turn.
		for range 5 {
			before := there.MustChange(t, set("turn", "there"))
			if after := here.MustChange(t, set("turn", "here")); after != before+1 {
				t.Fatalf("version %d follows version %d", after, before)
			}
		}
	}
	letIn := func(k *keeptest.Kit) bool {
		c := k.MustCaller(t, keep.Vault, token.Value)
		return c.Permissions() != nil
	}
	for range 3 {
		for _, active := range []bool{true, false} {
			if _, err := a.UpdateToken(t.Context(), a.Operator(t, keep.InfluxDB), token.ID, keep.TokenUpdate{Active: &active}); err != nil {
				t.Fatal(err)
			}
			if letIn(a) != active || letIn(b) != active {
				t.Errorf("the token is active: %t, and the servers say %t and %t", active, letIn(a), letIn(b))
			}
		}
	}
}

// lateView is a store that calls the context's function while a View is open.
type lateView struct{ sharedStore }

type openedKey struct{}

func (l lateView) View(ctx context.Context, fn func(store.Reader) error) error {
	return l.sharedStore.View(ctx, func(r store.Reader) error {
		if opened, ok := ctx.Value(openedKey{}).(func()); ok {
			opened()
		}
		return fn(r)
	})
}

// whileOpen returns a context with which lateView calls a function in the first View.
func whileOpen(t *testing.T, opened func()) context.Context {
	return context.WithValue(t.Context(), openedKey{}, sync.OnceFunc(opened))
}

// lateServers is twoServers; the second has a lateView.
func lateServers(t *testing.T) (a, b *keeptest.Kit, c *cluster) {
	c = newCluster()
	a = keeptest.New(t, c.options(serverA))
	o := c.options(serverB)
	o.Wrap = func(s store.Store) store.Store { return lateView{sharedStore{s}} }
	return a, a.Beside(t, o), c
}

// TestCacheFilledByAnOldView checks that what a transaction has read from an older
// state, and put into a cache after another server has changed it, is never used
// for the new state.
func TestCacheFilledByAnOldView(t *testing.T) {
	a, b, _ := lateServers(t)

	token := a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org)})
	off, changed := false, false
	ctx := whileOpen(t, func() {
		changed = true
		if _, err := a.UpdateToken(t.Context(), a.Operator(t, keep.InfluxDB), token.ID, keep.TokenUpdate{Active: &off}); err != nil {
			t.Error(err)
		}
	})
	c, err := b.Authenticate(ctx, keeptest.Origin(keep.Vault), token.Value)
	if err != nil || c.Permissions() == nil || !changed {
		t.Fatalf("%v; a View that began before the change must not show it", err)
	}
	if c := b.MustCaller(t, keep.Vault, token.Value); c.Permissions() != nil {
		t.Error("the token is let in after it was deactivated")
	}

	a.MustChange(t, set("name", "old"))
	op := b.Operator(t, keep.Vault)
	changed = false
	ctx = whileOpen(t, func() {
		changed = true
		a.MustChange(t, set("name", "new"))
	})
	if _, err := b.Values(ctx, op, b.Org, nil, ""); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := b.MustValues(t)["name"]; got != "new" {
		t.Errorf("the server shows %q", got)
	}
}

// dying is the store of a server that keeps its audit records there, as if it died
// before it could remove them.
type dying struct {
	sharedStore
	died atomic.Bool
}

func (d *dying) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.died.Load() && store.ReserveOf(ctx) == store.LastReserve { // only the outbox is emptied with it
		return store.ErrUnavailable
	}
	return d.sharedStore.Update(ctx, fn)
}

// TestTakeOver lets a server die with audit records in the store, has another take
// them over, and brings the dead one back: each change is in a log, counts once, and
// copies are explained.
func TestTakeOver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		logged bool // in the dead server's log, on its disk
		copies uint64
	}{
		{"logged and synced", true, 3},
		{"not logged", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster()
			a := keeptest.New(t, c.options(serverA))
			under := &dying{}
			o := c.options(serverB)
			o.Wrap = func(s store.Store) store.Store { under.Store = s; return under }
			b := a.Beside(t, o)
			changes := func() (all, taken int) {
				records, _ := a.AuditRecords(t, 0)
				for _, r := range records {
					if r.Action == "secrets.write" {
						all++
						if r.For == serverB.String() {
							taken++
						}
					}
				}
				return all, taken
			}
			if err := a.FlushOutbox(t.Context()); err != nil {
				t.Fatal(err)
			}

			under.died.Store(true)
			_, end := b.AuditRecords(t, 0)
			for _, value := range []string{"1", "2", "3"} {
				b.MustChange(t, set("name", value))
			}
			b.Close(t)
			if !tt.logged {
				if err := os.Truncate(b.Audit, end); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.TakeOver(t.Context()); err != nil {
				t.Fatal(err)
			}
			if all, _ := changes(); all != 0 {
				t.Fatalf("%d records of a running server were taken over", all)
			}
			c.stop(serverB)
			if err := a.TakeOver(t.Context()); err != nil {
				t.Fatal(err)
			}
			if all, taken := changes(); all != 3 || taken != 3 {
				t.Fatalf("%d of %d records were taken over, want 3 of 3", taken, all)
			}
			logs := []string{a.Audit, b.Audit}
			_, err := audit.VerifyTogether(t.Context(), logs)
			if unexplained := errors.As(err, new(*audit.DamageError)); unexplained != tt.logged {
				t.Fatalf("before the dead server is back: %v", err)
			}

			under.died.Store(false)
			c.start(serverB)
			b.Reopen(t)
			b.MustChange(t, set("name", "4"))
			report, err := audit.VerifyTogether(t.Context(), logs)
			if err != nil || report.Copies != tt.copies {
				t.Fatalf("after the dead server is back: %d copies, %v; want %d", report.Copies, err, tt.copies)
			}
			if got := outcomes(t, b, "audit.taken-over"); len(got) != 1 {
				t.Errorf("the server that is back has %d entries about what was taken over, want 1", len(got))
			}
			if err := b.FlushOutbox(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := records(t, a, 'k'); n != 0 {
				t.Errorf("%d lists of what was taken over stay in the store", n)
			}
			if got := b.MustValues(t)["name"]; got != "4" {
				t.Errorf("the secret is %q", got)
			}
		})
	}
}

// TestTakeOverPastDamage takes over the records of one server although one of another's
// is damaged.
func TestTakeOverPastDamage(t *testing.T) {
	const serverC keep.ID = 0xc1
	c := newCluster()
	a := keeptest.New(t, c.options(serverA))
	for _, id := range []keep.ID{serverB, serverC} {
		under := &dying{}
		o := c.options(id)
		o.Wrap = func(s store.Store) store.Store { under.Store = s; return under }
		gone := a.Beside(t, o)
		under.died.Store(true)
		gone.MustChange(t, set("name", id.String()))
		gone.Close(t)
		c.stop(id)
	}
	for key, sealed := range raw(t, a) {
		if strings.HasPrefix(key, string(binary.BigEndian.AppendUint64([]byte("a"), uint64(serverB)))) {
			write(t, a, key, sealed[:len(sealed)-1])
		}
	}
	if err := a.TakeOver(t.Context()); !errors.As(err, new(*record.DamageError)) {
		t.Errorf("%v, want the damage", err)
	}
	written, _ := a.AuditRecords(t, 0)
	if !slices.ContainsFunc(written, func(r audit.Record) bool { return r.For == serverC.String() }) {
		t.Error("the records of the other server were not taken over")
	}
}

// TestPausedServer takes over the records of a server that is not dead: it finds out
// and explains the copies.
func TestPausedServer(t *testing.T) {
	c := newCluster()
	a := keeptest.New(t, c.options(serverA))
	under := &dying{}
	o := c.options(serverB)
	o.Wrap = func(s store.Store) store.Store { under.Store = s; return under }
	b := a.Beside(t, o)
	under.died.Store(true)
	b.MustChange(t, set("name", "1"))
	c.stop(serverB)
	if err := a.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.start(serverB)
	under.died.Store(false)
	b.MustChange(t, set("name", "2"))
	if err := b.FlushOutbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := audit.VerifyTogether(t.Context(), []string{a.Audit, b.Audit})
	if err != nil || report.Copies != 1 {
		t.Errorf("%d copies, %v; want 1", report.Copies, err)
	}
}

// TestWaitForOtherServers waits at one server for a change that another one makes.
func TestWaitForOtherServers(t *testing.T) {
	a, b, _ := twoServers(t)
	a.MustChange(t, set("name", "1"))
	op := b.Operator(t, keep.Vault)
	d, err := b.Values(t.Context(), op, b.Org, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan error)
	go func() { woken <- b.Wait(t.Context(), op, b.Org, d.Tag) }()
	// Another change wakes nobody for good.
	if _, err := a.CreateUser(t.Context(), a.Operator(t, keep.InfluxDB), "someone", true); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-woken:
		t.Fatalf("woken by another change: %v", err)
	default:
	}
	a.MustChange(t, set("name", "2"))
	select {
	case err := <-woken:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("not woken")
	}
	if got := b.MustValues(t)["name"]; got != "2" {
		t.Errorf("the secret is %q", got)
	}
}

// TestBackupByAnotherServer checks that a server knows when another has made a backup.
func TestBackupByAnotherServer(t *testing.T) {
	a, b, _ := twoServers(t)
	if err := a.Backup(t.Context(), a.Operator(t, keep.InfluxDB), io.Discard); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !b.LastBackup().Equal(a.LastBackup()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the last backup is from %v, and the other server says %v", a.LastBackup(), b.LastBackup())
		}
	}
}

// TestBackupsAtTheSameTime completes backups at two servers, one of which is slow to say
// so: the last one counts, also after a restart.
func TestBackupsAtTheSameTime(t *testing.T) {
	a, b, c := twoServers(t)
	first := a.Clock.Now()
	last := first.Add(time.Minute)
	b.SaveLastBackup(t.Context(), last)
	a.SaveLastBackup(t.Context(), first)
	b.SaveLastBackup(t.Context(), first)
	if got := b.LastBackup(); !got.Equal(last) {
		t.Errorf("the server says %v, want %v", got, last)
	}
	if got := a.Beside(t, c.options(0xc1)).LastBackup(); !got.Equal(last) {
		t.Errorf("a server that starts says %v, want %v", got, last)
	}
}

// TestClocksOfOtherServers checks that what has expired at one server has expired at
// one whose clock is behind, and that one whose clock is ahead makes no changes.
func TestClocksOfOtherServers(t *testing.T) {
	a, b, _ := twoServers(t)
	origin := keep.Origin{Protocol: keep.InfluxDB}
	b.Clock.Advance(-10 * time.Minute)
	token := a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org), Expires: a.Clock.Now().Add(5 * time.Minute)})
	session, err := a.SignIn(t.Context(), keep.Anonymous(origin), "admin", a.Password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AuthenticateSession(t.Context(), origin, session.Key); err != nil {
		t.Errorf("a server whose clock is behind refuses a new session: %v", err)
	}
	a.Clock.Advance(6 * time.Minute)
	a.MustChange(t, set("any", "change"))
	for _, k := range []*keeptest.Kit{a, b} {
		if _, err := k.Authenticate(t.Context(), origin, token.Value); !errors.Is(err, keep.ErrUnauthenticated) {
			t.Errorf("an expired token: %v", err)
		}
	}
	if ahead, known := b.ClockSkew(); !known || ahead > -9*time.Minute {
		t.Errorf("ahead by %v, known: %t", ahead, known)
	}
	b.MustChange(t, set("behind", "1"))

	b.Clock.Advance(time.Hour)
	a.MustChange(t, set("any", "other change"))
	op := b.Operator(t, keep.InfluxDB)
	_, err = b.Change(t.Context(), op, b.Org, set("ahead", "1"))
	if keep.CodeOf(err) != keep.CodeUnavailable || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a server whose clock is ahead makes a change: %v", err)
	}
	if b.ClockErr() == nil {
		t.Error("its clock is right")
	}
	want := map[string]string{"any": "other change", "behind": "1"}
	if got := b.MustValues(t); !maps.Equal(got, want) {
		t.Errorf("it shows %v", got)
	}
	b.Clock.Advance(-44 * time.Minute) // it is behind again
	b.MustChange(t, set("right", "1"))
}

// TestRotationByOtherServers starts a rotation at one server while another does the
// background work: each has the keys for what it reads, and in the end one key is left.
func TestRotationByOtherServers(t *testing.T) {
	a, b, c := twoServers(t)
	a.MustChange(t, set("name", "1"))
	first, err := a.KeyStatus(t.Context(), a.Operator(t, keep.InfluxDB))
	if err != nil || len(first.Keys) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := a.RotateKeys(t.Context(), a.Operator(t, keep.InfluxDB)); err != nil {
		t.Fatal(err)
	}
	b.MustChange(t, set("by b", "2"))
	a.MustChange(t, set("by a", "3"))
	want := map[string]string{"name": "1", "by b": "2", "by a": "3"}
	for _, k := range []*keeptest.Kit{a, b} {
		if got := k.MustValues(t); !maps.Equal(got, want) {
			t.Errorf("it shows %v", got)
		}
		if err := k.RotateKeys(t.Context(), k.Operator(t, keep.InfluxDB)); keep.CodeOf(err) != keep.CodeConflict {
			t.Errorf("a second rotation: %v", err)
		}
	}
	c.lead(serverB)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		s, err := a.KeyStatus(t.Context(), a.Operator(t, keep.InfluxDB))
		if err != nil || s.Err != "" {
			t.Fatal(err, s.Err)
		}
		if len(s.Keys) == 1 && !s.Rotating {
			if s.Keys[0].ID == first.Keys[0].ID {
				t.Error("the old key is left")
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still rotating: %+v", s)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, k := range []*keeptest.Kit{a, b} {
		if got := k.MustValues(t); !maps.Equal(got, want) {
			t.Errorf("it shows %v", got)
		}
		var file bytes.Buffer
		if err := k.Backup(t.Context(), k.Operator(t, keep.InfluxDB), &file); err != nil {
			t.Errorf("backup: %v", err)
		}
	}
}

// TestBackupDuringRotation ends a rotation at one server while another has begun a backup
// and knows the new keys already: the backup has the keyset that opens its records.
func TestBackupDuringRotation(t *testing.T) {
	a, b, c := lateServers(t)
	a.MustChange(t, set("name", "1"))
	c.lead(serverA)
	op := b.Operator(t, keep.InfluxDB)
	rotated := false
	ctx := whileOpen(t, func() {
		rotated = true
		if err := a.RotateKeys(t.Context(), a.Operator(t, keep.InfluxDB)); err != nil {
			t.Error(err)
		}
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
			s, err := b.KeyStatus(t.Context(), b.Operator(t, keep.InfluxDB))
			if err != nil || s.Err != "" {
				t.Fatal(err, s.Err)
			}
			if b.MustValues(t); len(s.Keys) == 1 && s.Keys[0].ID != b.Keys().PrimaryKeyID() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the rotation has not ended within 2 minutes: %+v", s)
			}
		}
	})
	var file bytes.Buffer
	if err := b.Backup(ctx, op, &file); err != nil || !rotated {
		t.Fatal(rotated, err)
	}
	n, err := keep.VerifyBackup(t.Context(), &file, func(h backup.Header) (*seal.Keys, error) { return b.OpenKeys(t.Context(), h.Keyset) })
	if err != nil || n == 0 {
		t.Errorf("the backup has %d records, %v", n, err)
	}
}

// TestStorePutBack puts the store back to an older state, as an operator can do with
// the etcd that servers share. What follows is not confused with what was lost.
func TestStorePutBack(t *testing.T) {
	a, b, _ := twoServers(t)
	a.MustChange(t, set("kept", "1"))
	before := raw(t, a)
	a.MustChange(t, set("lost", "2"))
	want := map[string]string{"kept": "1", "lost": "2"}
	if got := b.MustValues(t); !maps.Equal(got, want) {
		t.Fatalf("it shows %v", got)
	}
	putBack(t, before, a, b)
	a.MustChange(t, set("after", "3"))
	want = map[string]string{"kept": "1", "after": "3"}
	for _, k := range []*keeptest.Kit{a, b} {
		if got := k.MustValues(t); !maps.Equal(got, want) {
			t.Errorf("it shows %v", got)
		}
	}
}

// putBack puts the store of servers back to an older state.
func putBack(t *testing.T, before map[string][]byte, servers ...*keeptest.Kit) {
	t.Helper()
	for _, k := range servers {
		k.Tamper()
	}
	// At once, as etcd is: a server must not see a part of it.
	err := servers[0].Store().Update(t.Context(), func(w store.Tx) error {
		if err := w.DeleteRange([]byte{0}, nil); err != nil {
			return err
		}
		for key, value := range before {
			if err := w.Set([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeysetPutBack puts the store back to a state from before a rotation of the data
// keys. No server seals anything with a key that is lost, also after another rotation.
func TestKeysetPutBack(t *testing.T) {
	a, b, c := twoServers(t)
	want := map[string]string{}
	change := func(k *keeptest.Kit, name string) {
		t.Helper()
		k.MustChange(t, set(name, "1"))
		want[name] = "1"
	}
	rotate := func(k *keeptest.Kit) {
		t.Helper()
		if err := k.RotateKeys(t.Context(), k.Operator(t, keep.InfluxDB)); err != nil {
			t.Fatal(err)
		}
	}
	next := keep.ID(0xc1)
	check := func() {
		t.Helper()
		started := a.Beside(t, c.options(next)) // has the keys in the store alone
		next++
		for _, k := range []*keeptest.Kit{a, b, started} {
			if got := k.MustValues(t); !maps.Equal(got, want) {
				t.Errorf("it shows %v, want %v", got, want)
			}
		}
		started.Tamper()
	}
	change(a, "kept")
	before := raw(t, a)
	rotate(a)
	a.MustChange(t, set("lost", "2"))
	b.MustValues(t)

	putBack(t, before, a, b)
	change(a, "by a")
	change(b, "by b")
	check()

	before = raw(t, a)
	rotate(a)
	a.MustValues(t)
	putBack(t, before, a, b)
	rotate(b) // before a has noticed anything
	change(a, "by a again")
	change(b, "by b again")
	check()
}
