package pebblestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// ledger is what the workers of a crash test know. Each worker w makes changes
// 1, 2, 3, ... in order; change n sets the keys w/a and w/b to n and adds
// w/log/n.
type ledger struct {
	acked []atomic.Int64 // last acknowledged change
	seen  []atomic.Int64 // last change visible in a View
	tried []atomic.Int64 // last attempted change
}

func newLedger(workers int) *ledger {
	return &ledger{
		acked: make([]atomic.Int64, workers),
		seen:  make([]atomic.Int64, workers),
		tried: make([]atomic.Int64, workers),
	}
}

func (l *ledger) change(ctx context.Context, s store.Store, w int, pad []byte) error {
	n := l.tried[w].Add(1)
	err := s.Update(ctx, func(tx store.Tx) error {
		value := strconv.AppendInt(nil, n, 10)
		if err := tx.Set(fmt.Appendf(nil, "%d/a", w), value); err != nil {
			return err
		}
		if err := tx.Set(fmt.Appendf(nil, "%d/log/%08d", w, n), pad); err != nil {
			return err
		}
		return tx.Set(fmt.Appendf(nil, "%d/b", w), value)
	})
	if err == nil {
		l.acked[w].Store(n)
	}
	return err
}

// state returns the last change of worker w in s, or an error if only part of
// it is there.
func (l *ledger) state(ctx context.Context, s store.Store, w int) (n int64, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		a, errA := r.Get(fmt.Appendf(nil, "%d/a", w))
		b, errB := r.Get(fmt.Appendf(nil, "%d/b", w))
		if errors.Is(errA, store.ErrNotFound) && errors.Is(errB, store.ErrNotFound) {
			return nil
		}
		if errA != nil || errB != nil || string(a) != string(b) {
			return fmt.Errorf("worker %d: a is %q, %v and b is %q, %v", w, a, errA, b, errB)
		}
		if n, err = strconv.ParseInt(string(a), 10, 64); err != nil {
			return err
		}
		count := int64(0)
		prefix := fmt.Appendf(nil, "%d/log/", w)
		err := r.Scan(prefix, store.PrefixEnd(prefix), func(_, _ []byte) (bool, error) { count++; return true, nil })
		if err == nil && count > n {
			err = fmt.Errorf("worker %d: %d log entries after change %d", w, count, n)
		}
		return err
	})
	return n, err
}

// check compares s with what must be there at least.
func (l *ledger) check(tb testing.TB, s store.Store, atLeast []int64) {
	tb.Helper()
	for w := range l.acked {
		n, err := l.state(tb.Context(), s, w)
		if err != nil {
			tb.Error(err)
			continue
		}
		if n < atLeast[w] || n > l.tried[w].Load() {
			tb.Errorf("worker %d: found change %d; %d were known to be durable, %d attempted", w, n, atLeast[w], l.tried[w].Load())
		}
	}
}

// known returns the changes that must survive a crash now.
func (l *ledger) known() []int64 {
	out := make([]int64, len(l.acked))
	for w := range out {
		out[w] = max(l.acked[w].Load(), l.seen[w].Load())
	}
	return out
}

// TestCrash stops the machine at random moments, losing a random part of the
// unsynced data, and checks that everything acknowledged or visible survives.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	const workers = 8
	l := newLedger(workers)
	fs := vfs.NewCrashableMem()
	for round := range rounds {
		s, err := Open("db", &Options{FS: fs, Reserve: -1})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		l.check(t, s, l.known())
		for w := range workers {
			// The last attempt of a worker may or may not have succeeded.
			n, err := l.state(t.Context(), s, w)
			if err != nil {
				t.Fatal(err)
			}
			l.tried[w].Store(n)
			l.acked[w].Store(n)
			l.seen[w].Store(n)
		}

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		pad := make([]byte, rng.IntN(20_000))
		for w := range workers {
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := l.change(ctx, s, w, pad); err != nil && ctx.Err() == nil {
						t.Errorf("update: %v", err)
					}
				}
			})
		}
		wg.Go(func() {
			for w := 0; ctx.Err() == nil; w = (w + 1) % workers {
				n, err := l.state(ctx, s, w)
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				l.seen[w].Store(max(n, l.seen[w].Load()))
			}
		})
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		known := l.known()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: []int{0, 10, 50, 90, 100}[rng.IntN(5)],
			RNG:                 rand.New(rand.NewPCG(rng.Uint64(), 0)),
		})
		cancel()
		wg.Wait()
		storetest.MustClose(t, s)

		for w := range workers {
			l.acked[w].Store(known[w])
			l.seen[w].Store(known[w])
		}
		fs = crashed
	}
}

// TestKill kills a process that uses a store: in even rounds after it has made
// changes, in odd rounds possibly before.
func TestKill(t *testing.T) {
	const env = "PEBBLESTORE_TEST_KILL"
	const workers = 8
	if dir := os.Getenv(env); dir != "" {
		killedProcess(t, dir, workers)
		return
	}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	l := newLedger(workers)
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), env+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var kill *time.Timer
		killSoon := sync.OnceFunc(func() {
			kill = time.AfterFunc(time.Duration(100+rand.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		})
		if round%2 == 1 {
			killSoon()
		}
		readAcked(t, out, l, killSoon)
		_ = cmd.Wait()
		if kill == nil {
			t.Fatal("the process ended by itself")
		}
		kill.Stop()

		s := mustOpen(t, dir, nil)
		for w := range workers {
			n, err := l.state(t.Context(), s, w)
			if err != nil {
				t.Error(err)
			}
			if known := l.acked[w].Load(); n < known || n > known+1 {
				t.Errorf("worker %d: found change %d, %d was acknowledged", w, n, known)
			}
			l.acked[w].Store(n)
		}
		storetest.MustClose(t, s)
	}
	for w := range workers {
		if l.acked[w].Load() == 0 {
			t.Errorf("worker %d did nothing", w)
		}
	}
}

// readAcked reads the acknowledgements that a process prints. It calls all
// once every worker has one.
func readAcked(t *testing.T, out io.Reader, l *ledger, all func()) {
	heard := map[int]bool{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		worker, change, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "acked "), " ")
		w, err1 := strconv.Atoi(worker)
		n, err2 := strconv.ParseInt(change, 10, 64)
		if !ok || err1 != nil || err2 != nil {
			t.Logf("child: %s", lines.Text())
			continue
		}
		l.acked[w].Store(n)
		if heard[w] = true; len(heard) == len(l.acked) {
			all()
		}
	}
}

func killedProcess(t *testing.T, dir string, workers int) {
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(workers)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range workers {
		n, err := l.state(t.Context(), s, w)
		if err != nil {
			t.Fatal(err)
		}
		l.tried[w].Store(n)
		wg.Go(func() {
			for {
				if err := l.change(t.Context(), s, w, make([]byte, 1000)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Fprintf(os.Stdout, "acked %d %d\n", w, l.acked[w].Load())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
