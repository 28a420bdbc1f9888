//go:build unix

package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
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
