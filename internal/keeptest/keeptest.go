// Package keeptest is the test kit for everything above the domain: a real keep.Keep on
// the embedded store in a temporary folder, set up with a user, an organization and an
// operator token; and [Faults], which sends a protocol's requests while each step of the
// store fails in turn. Only tests import it.
package keeptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"

	"golang.org/x/crypto/bcrypt"
)

// Options of a Kit; nil is valid.
type Options struct {
	// Fresh skips the setup.
	Fresh bool
	// Configure changes the domain's configuration before it starts.
	Configure func(*keep.Config)
	// OpenStore opens the store that belongs to a folder, and creates it if there is
	// none. Default: the embedded store.
	OpenStore StoreOpener
	// Wrap wraps the store, for example in storetest's faults.
	Wrap func(store.Store) store.Store
	// KeysInStore puts the keyset into the store, wrapped by the kit's key, as servers
	// do that share a store.
	KeysInStore bool
	// AuditFS is the file system of the audit log.
	AuditFS audit.FS
}

// StoreOpener opens a store that belongs to a folder.
type StoreOpener func(ctx context.Context, dir string) (store.Store, error)

// Kit is a Keep with its store, keys, clock and audit log.
type Kit struct {
	*keep.Keep
	Clock *Clock
	Log   *bytes.Buffer // the domain's log; read it only after Close
	Dir   string
	Audit string // the audit log's file

	// The result of the setup, unless Options.Fresh is set.
	Org           keep.ID
	Admin         keep.ID
	OperatorToken string
	Password      string // of the user "admin"; the organization is "acme"

	opts     Options
	shares   bool // the store belongs to another Kit
	tampered bool
	saved    *atomic.Pointer[seal.Keys] // after a rotation
	kek      seal.Provider
	keys     *seal.Keys
	store    store.Store
	records  map[string][]byte // after Close, with Options.OpenStore
	log      *audit.Log
	once     *sync.Once
}

// New starts a Keep that is closed when the test ends.
func New(tb testing.TB, o *Options) *Kit {
	tb.Helper()
	k := &Kit{Clock: NewClock(), Dir: tb.TempDir(), Log: &bytes.Buffer{}, Password: "correct horse 1"}
	if o != nil {
		k.opts = *o
	}
	k.Audit = filepath.Join(k.Dir, "audit.log")
	var err error
	if k.kek, err = seal.CreateKeyFile(filepath.Join(tb.TempDir(), "key")); err != nil {
		tb.Fatal(err)
	}
	if k.keys, _, err = seal.Create(tb.Context(), k.kek); err != nil {
		tb.Fatal(err)
	}
	k.open(tb)
	tb.Cleanup(func() { k.Close(tb) })
	if !k.opts.Fresh {
		k.setup(tb)
	}
	return k
}

func (k *Kit) open(tb testing.TB) {
	tb.Helper()
	var err error
	if !k.shares {
		k.store = k.openStore(tb, k.Dir)
	}
	if k.log, err = audit.Open(k.Audit, &audit.Options{FS: k.opts.AuditFS}); err != nil {
		tb.Fatal(err)
	}
	c := keep.Config{
		WrappedKeys: func(*seal.Keys) ([]byte, error) { return []byte(`{"wrapped":"keyset"}`), nil },
		Store:       k.store, Keys: k.keys, Audit: k.log, Now: k.Clock.Now, Sleep: k.Clock.Sleep, PasswordCost: bcrypt.MinCost,
		SingleRefusals: math.MaxInt, // tests find records by request ID
		Logger:         slog.New(slog.NewTextHandler(k.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if k.opts.Wrap != nil {
		c.Store = k.opts.Wrap(k.store)
	}
	if k.opts.KeysInStore {
		k.shareKeys(tb, &c)
	}
	if k.opts.Configure != nil {
		k.opts.Configure(&c)
	}
	k.saved = new(atomic.Pointer[seal.Keys])
	k.saved.Store(k.keys)
	if save := c.SaveKeys; save != nil {
		c.SaveKeys = func(ctx context.Context, keys *seal.Keys) error {
			err := save(ctx, keys)
			if err == nil {
				k.saved.Store(keys)
			}
			return err
		}
	}
	if k.Keep, err = keep.Open(context.Background(), c); err != nil {
		tb.Fatal(err)
	}
	k.once = new(sync.Once)
}

const storeName = "store" // in a kit's folder

func (k *Kit) openStore(tb testing.TB, dir string) (s store.Store) {
	tb.Helper()
	var err error
	if dir = filepath.Join(dir, storeName); k.opts.OpenStore != nil {
		s, err = k.opts.OpenStore(context.Background(), dir)
	} else {
		s, err = pebblestore.Open(dir, nil)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// shareKeys puts the keyset into the store, or takes it from there.
func (k *Kit) shareKeys(tb testing.TB, c *keep.Config) {
	tb.Helper()
	c.WrappedKeys = nil
	c.SharedKeys = &keep.SharedKeys{
		Open: k.OpenKeys,
		Wrap: func(ctx context.Context, keys *seal.Keys) ([]byte, error) { return keys.Wrap(ctx, k.kek) },
	}
	wrapped, err := k.keys.Wrap(context.Background(), k.kek)
	if err != nil {
		tb.Fatal(err)
	}
	stored, err := record.CreateKeyset(context.Background(), k.store, wrapped)
	if err == nil {
		c.SharedKeys.Loaded = stored
		c.Keys, err = k.OpenKeys(context.Background(), stored.Wrapped)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// OpenKeys unwraps a keyset.
func (k *Kit) OpenKeys(ctx context.Context, wrapped []byte) (*seal.Keys, error) {
	return seal.Load(ctx, wrapped, k.kek)
}

// Close closes the Keep. A second call does nothing.
func (k *Kit) Close(tb testing.TB) {
	tb.Helper()
	k.once.Do(func() {
		if err := k.Keep.Close(); err != nil {
			tb.Errorf("close the domain: %v", err)
		}
		if !k.tampered && !tb.Failed() {
			k.verifySums(tb)
		}
		if k.opts.OpenStore != nil {
			k.readStore(tb)
		}
		if !k.shares {
			if err := k.store.Close(); err != nil {
				tb.Errorf("close the store: %v", err)
			}
		}
		if err := k.log.Close(); err != nil {
			tb.Errorf("close the audit log: %v", err)
		}
	})
}

// Tamper keeps Close from verifying the store's sums. Call it before writing to the
// store directly.
func (k *Kit) Tamper() { k.tampered = true }

// verifySums checks that the store's sums match its records at the end of a test.
func (k *Kit) verifySums(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	records := record.New(k.store, k.saved.Load(), time.Now)
	if k.opts.KeysInStore {
		records.FollowKeyset(record.StoredKeyset{}, k.OpenKeys)
	}
	err := records.View(ctx, func(r *record.Reader) error {
		_, err := r.VerifySums(func(d *record.DamageError) { tb.Errorf("after the test: %v", d) })
		if err != nil {
			return err
		}
		return r.ScanIDs(record.TableHead, func(org keep.ID) error { return secretmap.Verify(r, org) })
	})
	if err != nil {
		tb.Errorf("verify the sums after the test: %v", err)
	}
}

// Reopen closes the Keep and opens it again with the same data.
func (k *Kit) Reopen(tb testing.TB) {
	tb.Helper()
	k.Close(tb)
	k.open(tb)
}

// Beside starts another server on the same store. It has a clock and an audit log
// of its own, and ends before k does.
func (k *Kit) Beside(tb testing.TB, o *Options) *Kit {
	tb.Helper()
	b := *k
	b.opts, b.shares = *o, true
	b.Log, b.Clock, b.Dir = &bytes.Buffer{}, &Clock{now: k.Clock.Now()}, tb.TempDir()
	b.Audit = filepath.Join(b.Dir, filepath.Base(k.Audit))
	b.open(tb)
	tb.Cleanup(func() { b.Close(tb) })
	return &b
}

// Clone closes the Kit and returns another with a copy of its data, for tests that need
// the same initial state many times.
func (k *Kit) Clone(tb testing.TB) *Kit {
	tb.Helper()
	k.Close(tb)
	c := *k
	c.Log, c.Clock, c.Dir = &bytes.Buffer{}, &Clock{now: k.Clock.Now()}, filepath.Join(tb.TempDir(), "clone")
	c.Audit = filepath.Join(c.Dir, filepath.Base(k.Audit))
	if err := os.CopyFS(c.Dir, os.DirFS(k.Dir)); err != nil {
		tb.Fatal(err)
	}
	if k.opts.OpenStore != nil {
		c.fillStore(tb)
	}
	c.open(tb)
	tb.Cleanup(func() { c.Close(tb) })
	return &c
}

// readStore reads all records of a store that isn't in its folder, so that Clone can copy
// them.
func (k *Kit) readStore(tb testing.TB) {
	tb.Helper()
	k.records = map[string][]byte{}
	err := k.store.View(context.Background(), func(r store.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			k.records[string(key)] = bytes.Clone(value)
			return true, nil
		})
	})
	if err != nil {
		tb.Errorf("read the store: %v", err)
	}
}

// fillStore writes the records of the Kit that k is a clone of.
func (k *Kit) fillStore(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(k.Dir, storeName)); err != nil {
		tb.Fatal(err)
	}
	s := k.openStore(tb, k.Dir)
	err := s.Update(context.Background(), func(tx store.Tx) error {
		for key, value := range k.records {
			if err := tx.Set([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		tb.Fatal(err)
	}
}

// Contents returns the content of the store, except for records that change by
// themselves.
func (k *Kit) Contents(tb testing.TB) map[string]string {
	tb.Helper()
	all := map[string]string{}
	err := k.store.View(tb.Context(), func(r store.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			if !changesByItself(key) {
				all[string(key)] = string(value)
			}
			return true, nil
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// changesByItself reports whether a record belongs to the audit outbox, the clock, monitoring
// or to what is remembered of readers, or has sums of such records.
func changesByItself(key []byte) bool {
	switch record.TableOf(key) {
	case record.TableOutbox, record.TableTaken, record.TableCheckpoint, record.TableClock, record.TableBackup, record.TableActivity, record.TableDirectory, record.TableRoot:
		return true
	}
	return false
}

// AuditRecords returns the records of the audit log from an offset on, and the offset of
// their end.
func (k *Kit) AuditRecords(tb testing.TB, from int64) ([]audit.Record, int64) {
	tb.Helper()
	f, err := os.Open(k.Audit)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		tb.Fatal(err)
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	var records []audit.Record
	for line := range bytes.Lines(data) {
		e, err := audit.Parse(line)
		if err != nil {
			tb.Fatal(err)
		}
		records = append(records, e.Record)
	}
	return records, from + int64(len(data))
}

// Store returns the store below the Keep, to inspect or damage it.
func (k *Kit) Store() store.Store { return k.store }

// Keys returns the keys that open the store's records.
func (k *Kit) Keys() *seal.Keys { return k.keys }

func (k *Kit) setup(tb testing.TB) {
	tb.Helper()
	r, err := k.Setup(tb.Context(), keep.Anonymous(Origin(keep.InfluxDB)), keep.SetupRequest{
		User: "admin", Password: k.Password, Org: "acme", Bucket: "b0",
	})
	if err != nil {
		tb.Fatal(err)
	}
	k.Org, k.Admin, k.OperatorToken = r.Org.ID, r.User.ID, r.Token.Value
}

// Origin is the origin of the kit's callers.
func Origin(p keep.Protocol) keep.Origin { return keep.Origin{Protocol: p, Remote: "192.0.2.1"} }

// MustCaller returns the caller with a token.
func (k *Kit) MustCaller(tb testing.TB, p keep.Protocol, token string) keep.Caller {
	tb.Helper()
	c, err := k.Authenticate(tb.Context(), Origin(p), token)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Operator returns a caller with all permissions.
func (k *Kit) Operator(tb testing.TB, p keep.Protocol) keep.Caller {
	tb.Helper()
	return k.MustCaller(tb, p, k.OperatorToken)
}

// MustToken creates a token with the given permissions in the kit's organization.
func (k *Kit) MustToken(tb testing.TB, n keep.NewToken) keep.Token {
	tb.Helper()
	if n.Org == 0 {
		n.Org = k.Org
	}
	n.Active = true
	t, err := k.CreateToken(tb.Context(), k.Operator(tb, keep.InfluxDB), n)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// ReadSecrets and WriteSecrets are the permissions that a token needs for an
// organization's secrets in every protocol.
func ReadSecrets(org keep.ID) acl.Set {
	return acl.Set{
		{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: org}},
		{Action: acl.Read, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}},
	}
}

func WriteSecrets(org keep.ID) acl.Set {
	return append(ReadSecrets(org), acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}})
}

// Plant gives a stored token permissions that a new token can't have, such as those of
// tokens imported from an InfluxDB.
func (k *Kit) Plant(tb testing.TB, token keep.ID, permissions acl.Set) {
	tb.Helper()
	key := record.Key(record.TableToken, token)
	type permission struct {
		Action acl.Action `json:"a"`
		Type   acl.Type   `json:"t"`
		ID     keep.ID    `json:"i,omitzero"`
		Org    keep.ID    `json:"o,omitzero"`
	}
	var list []permission
	for _, p := range permissions {
		list = append(list, permission{p.Action, p.Resource.Type, p.Resource.ID, p.Resource.OrgID})
	}
	err := record.New(k.store, k.keys, time.Now).Update(tb.Context(), func(w *record.Writer) error {
		var object map[string]any
		if err := w.RequireJSON(key, &object); err != nil {
			return err
		}
		object["permissions"] = list
		return w.PutJSON(key, object)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// MustChange writes secrets as the operator and returns the new version.
func (k *Kit) MustChange(tb testing.TB, ch keep.Change) uint64 {
	tb.Helper()
	w, err := k.Change(tb.Context(), k.Operator(tb, keep.InfluxDB), k.Org, ch)
	if err != nil {
		tb.Fatal(err)
	}
	return w.Version.Number
}

// MustValues returns the organization's current secrets.
func (k *Kit) MustValues(tb testing.TB) map[string]string {
	tb.Helper()
	d, err := k.Values(tb.Context(), k.Operator(tb, keep.InfluxDB), k.Org, nil, "")
	if err != nil {
		tb.Fatal(err)
	}
	return Map(d.Secrets)
}

// Map converts secrets to a map.
func Map(secrets []keep.Secret) map[string]string {
	m := make(map[string]string, len(secrets))
	for _, s := range secrets {
		m[s.Name] = s.Value
	}
	return m
}

// CheckHidden closes the Keep and searches everything that it wrote for confidential
// texts: values, tokens and passwords, and names outside the audit log.
func (k *Kit) CheckHidden(tb testing.TB, secrets, names []string) {
	tb.Helper()
	k.Close(tb)
	search := func(where string, data []byte, texts []string) {
		for _, text := range texts {
			if bytes.Contains(data, []byte(text)) {
				tb.Errorf("%s holds %q", where, text)
			}
		}
	}
	k.eachFile(tb, func(path string, data []byte) {
		search(path, data, secrets)
		if filepath.Dir(path) != k.Dir { // the audit log and its rotated files
			search(path, data, names)
		}
	})
	search("the log", k.Log.Bytes(), append(secrets, names...))
}

// eachFile calls fn with each file of the kit's folder.
func (k *Kit) eachFile(tb testing.TB, fn func(path string, data []byte)) {
	tb.Helper()
	files := 0
	err := filepath.WalkDir(k.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files++
		fn(path, data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if files < 3 {
		tb.Fatalf("only %d files found in %s", files, k.Dir)
	}
}

// CheckAbsent closes the Keep and checks that its files don't contain the given bytes.
func (k *Kit) CheckAbsent(tb testing.TB, texts [][]byte) {
	tb.Helper()
	k.Close(tb)
	k.eachFile(tb, func(path string, data []byte) {
		for _, text := range texts {
			if bytes.Contains(data, text) {
				tb.Errorf("%s holds %x", path, text)
			}
		}
	})
}

// CheckAudit closes the Keep and verifies the audit log.
func (k *Kit) CheckAudit(tb testing.TB) audit.Report {
	tb.Helper()
	k.Close(tb)
	r, err := audit.Verify(context.Background(), k.Audit, nil)
	if err != nil {
		tb.Errorf("audit log: %v", err)
	}
	return r
}

// Clock is a clock that moves only by Advance and Sleep, and by a microsecond each time
// it is read.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that starts at the current time.
func NewClock() *Clock { return &Clock{now: time.Now().UTC()} }

func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

// Sleep advances the clock instead of waiting.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.Advance(max(0, d))
	return ctx.Err()
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
