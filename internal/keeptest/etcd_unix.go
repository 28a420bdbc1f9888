//go:build unix

package keeptest

import (
	"context"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// Etcd starts an etcd for a test, and returns an opener of stores in it.
func Etcd(tb testing.TB) StoreOpener {
	tb.Helper()
	cluster := etcdtest.Start(tb, etcdtest.Options{})
	return func(ctx context.Context, dir string) (store.Store, error) {
		return etcdstore.Open(ctx, etcdstore.Options{
			Endpoints: cluster.Endpoints(), Prefix: dir + "/", Dir: dir, Server: etcdstore.Server{ID: "kit"},
		})
	}
}
