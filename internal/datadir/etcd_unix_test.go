//go:build unix

package datadir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// TestWrongPrefix gives a server and a tool a prefix under which there is nothing. A
// new store there would be empty, and anybody could set it up.
func TestWrongPrefix(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{})
	dir := filepath.Join(t.TempDir(), "data")
	under := func(prefix string) *config.Config {
		c := testConfig(t, dir)
		c.Store, c.Etcd.Endpoints, c.Etcd.Prefix = config.StoreEtcd, cluster.Endpoints(), prefix
		return c
	}
	start := func(prefix string) error {
		c := under(prefix)
		d, err := Unlock(t.Context(), c)
		if err != nil {
			return err
		}
		if err := d.Open(t.Context(), c, discardLog()); err != nil {
			return err
		}
		return d.Close()
	}
	if err := start("/right/"); err != nil {
		t.Fatal(err)
	}
	if err := start("/wrong/"); !errors.Is(err, etcdstore.ErrOtherStore) {
		t.Errorf("the server: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, copyName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), under("/wrong/"), func(keep.Damage) {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tool: %v", err)
	}
	if err := start("/wrong/"); !errors.Is(err, etcdstore.ErrNoStore) {
		t.Errorf("the server without its copy: %v", err)
	}
	if err := start("/right/"); err != nil {
		t.Error(err)
	}
}

// TestAcceptInEtcd accepts the records of a store in etcd.
func TestAcceptInEtcd(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{})
	c := testConfig(t, filepath.Join(t.TempDir(), "data"))
	c.Store, c.Etcd.Endpoints, c.Etcd.Prefix = config.StoreEtcd, cluster.Endpoints(), "/fluxkeep/"
	for range 2 { // the first makes the store
		if err := Accept(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	done, err := Check(t.Context(), c, func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) })
	if err != nil || done.Records == 0 || done.Lines < 2 {
		t.Errorf("%d records, %d audit records, %v", done.Records, done.Lines, err)
	}
}

// TestRewrapDuringRotation changes the data keys in etcd after a tool has read them: it
// must not put the old ones back, or what was sealed with the new ones is lost.
func TestRewrapDuringRotation(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{})
	c := testConfig(t, filepath.Join(t.TempDir(), "data"))
	c.Store, c.Etcd.Endpoints, c.Etcd.Prefix = config.StoreEtcd, cluster.Endpoints(), "/fluxkeep/"
	if err := Accept(t.Context(), c); err != nil { // makes the store
		t.Fatal(err)
	}
	d, err := openReader(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	next, err := d.keys.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := next.Wrap(t.Context(), d.keys.provider)
	if err != nil {
		t.Fatal(err)
	}
	rotated := d.shared.Loaded.Next(wrapped)
	if err := record.ReplaceKeyset(t.Context(), d.Store, d.shared.Loaded, rotated); err != nil {
		t.Fatal(err)
	}
	if _, err := d.rewrap(t.Context(), c); !errors.Is(err, keep.ErrKeysetChanged) {
		t.Errorf("rewrap: %v", err)
	}
	if stored, err := keep.LoadKeyset(t.Context(), d.Store); err != nil || !bytes.Equal(stored.Wrapped, wrapped) {
		t.Errorf("the keyset was replaced: %v", err)
	}
	if _, err := Rewrap(t.Context(), c, c); err != nil {
		t.Errorf("once more: %v", err)
	}
}
