//go:build unix

package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
	"go.uber.org/goleak"
)

// TestMain checks that no goroutine is left once everything is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient has time limits for a machine that is slow and busy.
var patient = func() timing {
	t := defaultTiming
	t.attempt, t.patience, t.behind = 20*time.Second, 2*time.Minute, 5*time.Second
	return t
}()

var prefixes atomic.Int64

// newPrefix returns a prefix that no other test uses.
func newPrefix() string { return fmt.Sprintf("/test%d/", prefixes.Add(1)) }

// testLog passes the store's log on to the test.
func testLog(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{tb}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type logWriter struct{ tb testing.TB }

var _ io.Writer = logWriter{}

func (w logWriter) Write(p []byte) (int, error) {
	if w.tb.Context().Err() == nil {
		w.tb.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// options returns the options of a store for a test.
func options(tb testing.TB, c *etcdtest.Cluster, prefix, server string) Options {
	return Options{
		Endpoints: c.Endpoints(), Prefix: prefix, Dir: tb.TempDir(),
		Server: Server{ID: server, Name: server}, Logger: testLog(tb), timing: patient,
	}
}

// mustOpen opens a store, also if a busy machine needs longer than the store's time limits.
func mustOpen(tb testing.TB, o Options) *Store {
	tb.Helper()
	return storetest.MustOpen(tb, storetest.OpenerFunc(func(ctx context.Context) (store.Store, error) {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			s, err := Open(ctx, o)
			if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
				return s, err
			}
		}
	})).(*Store)
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 3} {
		if members > 1 && testing.Short() {
			continue // the histories use three
		}
		t.Run(fmt.Sprintf("members=%d", members), func(t *testing.T) {
			c := etcdtest.Start(t, etcdtest.Options{Members: members})
			storetest.Run(t, func(tb testing.TB) storetest.Opener {
				o := options(tb, c, newPrefix(), "s1")
				return storetest.OpenerFunc(func(ctx context.Context) (store.Store, error) { return Open(ctx, o) })
			})
		})
	}
}
