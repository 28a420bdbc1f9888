package keep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

func TestBackupAndRestore(t *testing.T) {
	d := newDamageable(t)
	op := d.Operator(t, keep.Vault)
	var file bytes.Buffer
	if err := d.Backup(t.Context(), op, &file); err != nil {
		t.Fatal(err)
	}
	d.MustChange(t, set("after", "the backup"))
	for _, text := range []string{"value a", "value b", "acme", "battery", d.OperatorToken} {
		if bytes.Contains(file.Bytes(), []byte(text)) {
			t.Errorf("the backup holds %q", text)
		}
	}
	unlock := func(backup.Header) (*seal.Keys, error) { return d.Keys(), nil }
	n, err := keep.VerifyBackup(t.Context(), bytes.NewReader(file.Bytes()), unlock)
	if err != nil || n < 20 {
		t.Fatalf("%d records, %v", n, err)
	}
	for cut := 1; cut < file.Len(); cut += 1 + file.Len()/50 {
		if _, err := keep.VerifyBackup(t.Context(), bytes.NewReader(file.Bytes()[:cut]), unlock); err == nil {
			t.Fatalf("a backup cut after %d bytes is accepted as complete", cut)
		}
	}
	other, _, err := seal.Create(t.Context(), mustKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keep.VerifyBackup(t.Context(), bytes.NewReader(file.Bytes()), func(backup.Header) (*seal.Keys, error) { return other, nil }); err == nil {
		t.Error("another keyset opens it")
	}

	s, err := pebblestore.Open(filepath.Join(t.TempDir(), "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := keep.Restore(t.Context(), bytes.NewReader(file.Bytes()), s, d.Keys()); err != nil {
		t.Fatal(err)
	}
	r, err := keep.Check(t.Context(), s, d.Keys(), nil, func(x keep.Damage) { t.Errorf("restored: %s: %v", x.What, x.Err) })
	if err != nil || r.Organizations != 2 || r.Versions != 4 {
		t.Errorf("restored %+v, %v", r, err)
	}

	reader := d.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(d.Org)})
	if err := d.Backup(t.Context(), d.MustCaller(t, keep.InfluxDB, reader.Value), io.Discard); !errors.Is(err, keep.ErrNotOperator) {
		t.Errorf("a backup by a writer: %v", err)
	}
}

// TestBackupOfDamage checks that a backup fails if it couldn't be restored, and that the
// error names the damage before a byte is written.
func TestBackupOfDamage(t *testing.T) {
	d := newDamageable(t)
	op := d.Operator(t, keep.Vault)
	d.outbox.hold()
	all := raw(t, d.Kit)
	damaged := 0
	for key, good := range all {
		if strings.ContainsAny(key[:1], "eEaz") {
			continue // not in a backup
		}
		damaged++
		bad := bytes.Clone(good)
		bad[len(bad)-1] ^= 1
		write(t, d.Kit, key, bad)
		var file bytes.Buffer
		err := d.Backup(t.Context(), op, &file)
		if !errors.Is(err, seal.ErrDamaged) || !strings.HasSuffix(err.Error(), " is damaged") || file.Len() > 0 {
			t.Errorf("a damaged record of table %q: %v, %d bytes written", key[:1], err, file.Len())
		}
		write(t, d.Kit, key, good)
	}
	if err := d.Backup(t.Context(), op, io.Discard); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	d.CheckAudit(t)
	if got, want := outcomes(t, d.Kit, "backup"), append(slices.Repeat([]string{"failed"}, damaged), "allowed"); !slices.Equal(got, want) {
		t.Errorf("%d backups failed, and the audit log has %v", damaged, got)
	}
}

// closedPipe accepts some bytes and then fails.
type closedPipe struct{ left int }

func (c *closedPipe) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// TestBackupBrokenOff checks that the audit log records the failure of a backup that has
// begun.
func TestBackupBrokenOff(t *testing.T) {
	var noKeyset error
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.WrappedKeys = func(*seal.Keys) ([]byte, error) { return []byte(`{}`), noKeyset }
	}})
	k.MustChange(t, set("a", strings.Repeat("x", 200_000)))
	err := k.Backup(t.Context(), k.Operator(t, keep.InfluxDB), &closedPipe{100_000})
	if keep.CodeOf(err) != keep.CodeUnavailable || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	op := k.Operator(t, keep.InfluxDB)
	cancel()
	if err := k.Backup(ctx, op, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	noKeyset = io.ErrUnexpectedEOF
	if err := k.Backup(t.Context(), op, io.Discard); keep.CodeOf(err) != keep.CodeInternal {
		t.Errorf("without a keyset: %v", err)
	}
	k.CheckAudit(t)
	if got, want := outcomes(t, k, "backup"), []string{"allowed", "failed", "failed", "failed"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}

// TestLastBackup: the time of the last complete backup outlives a restart.
func TestLastBackup(t *testing.T) {
	clock := keeptest.NewClock()
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.WrappedKeys = func(*seal.Keys) ([]byte, error) { return []byte(`{}`), nil }
		c.Now = clock.Now
	}})
	backUp := func(w io.Writer) error { return k.Backup(t.Context(), k.Operator(t, keep.InfluxDB), w) }
	k.MustChange(t, set("a", strings.Repeat("x", 200_000)))
	if err := backUp(&closedPipe{100_000}); err == nil || !k.LastBackup().IsZero() {
		t.Errorf("after one that was broken off (%v): %v", err, k.LastBackup())
	}
	if err := backUp(io.Discard); err != nil {
		t.Fatal(err)
	}
	made := k.LastBackup()
	if since := clock.Now().Sub(made); since < 0 || since > time.Minute {
		t.Errorf("made at %v, at %v", made, clock.Now())
	}
	clock.Advance(time.Hour)
	if err := backUp(&closedPipe{100_000}); err == nil || !k.LastBackup().Equal(made) {
		t.Errorf("after one that was broken off (%v): %v, want %v", err, k.LastBackup(), made)
	}
	k.Reopen(t)
	if got := k.LastBackup(); !got.Equal(made) {
		t.Errorf("after a restart: %v, want %v", got, made)
	}
}

func mustKeyFile(t *testing.T) *seal.KeyFile {
	t.Helper()
	k, err := seal.CreateKeyFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestRotateKeys rotates under load, and ends with one key that opens everything.
func TestRotateKeys(t *testing.T) {
	var saved []*seal.Keys
	var mu sync.Mutex
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(_ context.Context, keys *seal.Keys) error {
			mu.Lock()
			defer mu.Unlock()
			saved = append(saved, keys)
			return nil
		}
	}})
	op := k.Operator(t, keep.InfluxDB)
	want := map[string]string{}
	for i := range 400 {
		want[fmt.Sprint("n", i)] = fmt.Sprint("value ", i)
	}
	k.MustChange(t, keep.Change{Set: want})
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := k.Change(t.Context(), op, k.Org, set(fmt.Sprint("w", w), fmt.Sprint(i))); err != nil {
					t.Error(err)
					return
				}
				if _, err := k.Values(t.Context(), op, k.Org, nil, ""); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		if err := k.RotateKeys(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(2 * time.Minute)
		for {
			s, err := k.KeyStatus(t.Context(), op)
			if err != nil || s.Err != "" {
				t.Fatal(err, s.Err)
			}
			if len(s.Keys) == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("still rotating: %+v", s)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	close(stop)
	writers.Wait()
	got := k.MustValues(t)
	for name, value := range want {
		if got[name] != value {
			t.Fatalf("%s is %q after the rotation", name, got[name])
		}
	}
	mu.Lock()
	defer mu.Unlock()
	last := saved[len(saved)-1]
	if len(saved) != 4 || len(last.KeyInfos()) != 1 {
		t.Fatalf("%d keysets were saved, the last with %d keys", len(saved), len(last.KeyInfos()))
	}
	if _, err := keep.Check(t.Context(), k.Store(), last, nil, func(x keep.Damage) { t.Errorf("%s: %v", x.What, x.Err) }); err != nil {
		t.Fatal(err)
	}
	stale := 0
	if _, err := keep.Check(t.Context(), k.Store(), k.Keys(), nil, func(keep.Damage) { stale++ }); err != nil || stale == 0 {
		t.Errorf("the first key still opens everything: %v", err)
	}
}

// TestRotationResumes starts with a keyset of two keys, as after a crash.
func TestRotationResumes(t *testing.T) {
	var resumed *seal.Keys
	var keys *seal.Keys
	done := make(chan *seal.Keys, 1)
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		if resumed != nil {
			c.Keys = resumed
		}
		keys = c.Keys
		c.SaveKeys = func(_ context.Context, keys *seal.Keys) error { done <- keys; return nil }
	}})
	k.MustChange(t, set("a", "1", "b", "2"))
	var err error
	if resumed, err = keys.WithNewKey(); err != nil {
		t.Fatal(err)
	}
	k.Reopen(t)
	select {
	case one := <-done:
		if len(one.KeyInfos()) != 1 || one.PrimaryKeyID() != resumed.PrimaryKeyID() {
			t.Errorf("ended with %v", one.KeyInfos())
		}
	case <-time.After(time.Minute):
		t.Fatal("the rotation was not resumed")
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("values are %v", got)
	}
}

// TestCompactLeavesNothingOld looks on the disk for the sealed bytes of values that have
// been deleted, destroyed and pruned.
func TestCompactLeavesNothingOld(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("gone", "x", "destroyed", "y"))
	old := raw(t, k)
	k.MustChange(t, keep.Change{Remove: []string{"gone"}})
	for i := range 30 {
		k.MustChange(t, set("n", fmt.Sprint(i)))
	}
	if err := k.DestroyVersions(t.Context(), op, k.Org, 32); err != nil {
		t.Fatal(err)
	}
	k.MustChange(t, set("destroyed", "z"))
	for i := range 30 {
		k.MustChange(t, set("n", fmt.Sprint(i)))
	}
	if err := k.Compact(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	now := raw(t, k)
	var secrets [][]byte
	for key, sealed := range old {
		if key[0] == 's' {
			secrets = append(secrets, sealed)
			if bytes.Equal(now[key], sealed) {
				t.Errorf("a secret record of version 1 is still in the store")
			}
		}
	}
	if len(secrets) != 2 {
		t.Fatalf("%d secret records at the beginning", len(secrets))
	}
	k.CheckAbsent(t, secrets)
}

// TestBackupHoldsKeys checks that no key is added or removed between reading the keyset
// and taking the snapshot.
func TestBackupHoldsKeys(t *testing.T) {
	rotated := make(chan error, 1)
	var rotate func()
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
		c.WrappedKeys = func(*seal.Keys) ([]byte, error) {
			go rotate()
			select {
			case <-rotated:
				t.Error("the keys were changed after the keyset was read, before the store was")
				rotated <- nil
			case <-time.After(200 * time.Millisecond): // the rotation must still be waiting
			}
			return []byte(`{}`), nil
		}
	}})
	op := k.Operator(t, keep.InfluxDB)
	rotate = func() { rotated <- k.RotateKeys(t.Context(), op) }
	var file bytes.Buffer
	if err := k.Backup(t.Context(), op, &file); err != nil {
		t.Fatal(err)
	}
	if err := <-rotated; err != nil {
		t.Errorf("the rotation afterwards: %v", err)
	}
	unlock := func(backup.Header) (*seal.Keys, error) { return k.Keys(), nil }
	if _, err := keep.VerifyBackup(t.Context(), &file, unlock); err != nil {
		t.Errorf("the keys from before do not open it: %v", err)
	}
}

// TestBackupWhileKeysAreSaved checks that a backup isn't delayed by a key service that
// hangs while it wraps new keys, and that a second rotation is refused during that time.
func TestBackupWhileKeysAreSaved(t *testing.T) {
	saving, release := make(chan struct{}), make(chan struct{})
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error {
			saving <- struct{}{}
			<-release
			return errors.New("the service did not answer")
		}
	}})
	op := k.Operator(t, keep.InfluxDB)
	rotated := make(chan error, 1)
	go func() { rotated <- k.RotateKeys(t.Context(), op) }()
	<-saving
	if err := k.Backup(t.Context(), op, io.Discard); err != nil {
		t.Errorf("a backup: %v", err)
	}
	if err := k.RotateKeys(t.Context(), op); keep.CodeOf(err) != keep.CodeConflict {
		t.Errorf("another rotation: %v", err)
	}
	close(release)
	if err := <-rotated; keep.CodeOf(err) != keep.CodeUnavailable {
		t.Errorf("the rotation: %v", err)
	}
	if s, err := k.KeyStatus(t.Context(), op); err != nil || len(s.Keys) != 1 {
		t.Errorf("afterwards: %+v, %v", s, err)
	}
}
