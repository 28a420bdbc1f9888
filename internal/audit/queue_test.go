package audit

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hangingFS opens files that can be made to hang.
type hangingFS struct {
	FS
	write, sync gate
}

// gate is open or shut; a shut gate blocks callers of pass until it opens.
type gate struct{ p atomic.Pointer[chan struct{}] }

func (g *gate) pass() {
	if c := g.p.Load(); c != nil {
		<-*c
	}
}

func (g *gate) shut() (open func()) {
	c := make(chan struct{})
	g.p.Store(&c)
	return func() { g.p.Store(nil); close(c) }
}

func (h *hangingFS) Open(path string, flag int) (File, error) {
	f, err := h.FS.Open(path, flag)
	return hangingFile{f, h}, err
}

type hangingFile struct {
	File
	fs *hangingFS
}

func (f hangingFile) Write(b []byte) (int, error) { f.fs.write.pass(); return f.File.Write(b) }
func (f hangingFile) Datasync() error             { f.fs.sync.pass(); return f.File.Datasync() }

// TestHangingWrite checks that if a write does not return, only the caller in
// that write waits for it.
func TestHangingWrite(t *testing.T) {
	path, w := logPath(t), newWriter()
	synctest.Test(t, func(t *testing.T) {
		fs := &hangingFS{FS: OS()}
		l := mustOpen(t, path, &Options{FS: fs})
		w.append(t, l, 3)
		release := fs.write.shut()

		type call struct {
			id      ID
			body    []byte
			pending bool
			err     error
			done    atomic.Bool
		}
		var calls []*call
		var wg sync.WaitGroup
		start := func(pending bool) {
			c := &call{pending: pending}
			c.id, c.body = w.body()
			calls = append(calls, c)
			wg.Go(func() {
				if pending {
					c.err = l.AppendPending(c.body)
				} else {
					c.err = l.Append(c.body)
				}
				c.done.Store(true)
			})
		}
		start(false) // this one is in the write
		synctest.Wait()
		for i := range 40 {
			start(i%2 == 0)
		}
		for name, other := range map[string]func() error{
			"Sync":   func() error { _, err := l.Sync(); return err },
			"Settle": func() error { _, _, err := l.Settle(); return err },
			"Rotate": l.Rotate,
		} {
			wg.Go(func() {
				if err := other(); !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s returns %v", name, err)
				}
			})
		}
		begin := time.Now()
		time.Sleep(maxWrite - watchInterval)
		if err := l.Err(); err != nil {
			t.Errorf("after %v, Hanging returns %v", time.Since(begin), err)
		}
		time.Sleep(3 * watchInterval)
		synctest.Wait()
		for i, c := range calls {
			if waits := !c.done.Load(); waits != (i == 0) {
				t.Errorf("after %v, call %d waits: %v", time.Since(begin), i, waits)
			} else if !waits && !errors.Is(c.err, ErrUnavailable) {
				t.Errorf("call %d returns %v", i, c.err)
			}
		}
		begin = time.Now()
		_, body := w.body()
		if err := l.Append(body); !errors.Is(err, ErrUnavailable) || !errors.Is(l.Err(), ErrUnavailable) {
			t.Errorf("Append returns %v, Err %v", err, l.Err())
		}
		if head := l.Head(); head.Seq != 3 || time.Since(begin) > 0 {
			t.Errorf("Head returns %v after %v", head, time.Since(begin))
		}

		release()
		wg.Wait()
		if err := l.Err(); err != nil || calls[0].err != nil {
			t.Errorf("after the write, Err returns %v and its caller got %v", err, calls[0].err)
		}
		for _, c := range calls {
			if c.pending {
				if err := l.AppendPending(c.body); err != nil {
					t.Error(err)
				}
				w.took = append(w.took, c.id)
			}
		}
		w.append(t, l, 1)
		w.took = append(w.took, calls[0].id)
		mustClose(t, l)
	})
	checkLog(t, path, nil, w.took)
}

// TestHangingBatch checks a write of several callers' records that hangs and
// then succeeds: the records are in the log, and not duplicated when their
// callers append them again.
func TestHangingBatch(t *testing.T) {
	path, w := logPath(t), newWriter()
	synctest.Test(t, func(t *testing.T) {
		fs := &hangingFS{FS: OS()}
		l := mustOpen(t, path, &Options{FS: fs})
		next := holdTurn(l)
		var bodies [][]byte
		var wg sync.WaitGroup
		var refused atomic.Int32
		for range 10 {
			id, body := w.body()
			w.took, bodies = append(w.took, id), append(bodies, body)
			wg.Go(func() {
				if err := l.AppendPending(body); errors.Is(err, ErrUnavailable) {
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all are queued
		release := fs.write.shut()
		next()
		time.Sleep(2 * maxWrite)
		synctest.Wait()
		if n := refused.Load(); n != 10 {
			t.Errorf("%d callers got errHanging, want 10", n)
		}
		release()
		wg.Wait()
		synctest.Wait() // the write has ended
		for _, body := range bodies {
			if err := l.AppendPending(body); err != nil {
				t.Error(err)
			}
		}
		if _, ids, err := l.Settle(); err != nil || len(ids) != 10 {
			t.Errorf("Settle returns %d records, %v", len(ids), err)
		}
		mustClose(t, l)
	})
	checkLog(t, path, nil, w.took)
}

// TestHangingSync checks that the log reports a sync that does not return, and
// can be closed anyway.
func TestHangingSync(t *testing.T) {
	path := logPath(t)
	synctest.Test(t, func(t *testing.T) {
		fs := &hangingFS{FS: OS()}
		l := mustOpen(t, path, &Options{FS: fs})
		w := newWriter()
		w.append(t, l, 1)
		release := fs.sync.shut()
		begin := time.Now()
		for _, want := range []time.Duration{maxSync, maxSync} {
			if _, err := l.Sync(); !errors.Is(err, ErrUnavailable) || time.Since(begin) != want {
				t.Errorf("Sync returns %v after %v", err, time.Since(begin))
			}
		}
		if err := l.Err(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Err returns %v", err)
		}
		release()
		synctest.Wait()
		if err := l.Err(); err != nil {
			t.Errorf("after the sync, Err returns %v", err)
		}
		w.append(t, l, 1)
		mustSync(t, l)

		w.append(t, l, 1)
		release = fs.sync.shut()
		defer release()
		begin = time.Now()
		if err := l.Close(); !errors.Is(err, ErrUnavailable) || time.Since(begin) > maxSync {
			t.Errorf("Close returns %v after %v", err, time.Since(begin))
		}
	})
}

// freeFS reports a configurable amount of free space.
type freeFS struct {
	FS
	free atomic.Uint64
}

func (f *freeFS) Free(string) (uint64, error) { return f.free.Load(), nil }

// TestReserve checks that the log leaves space on the disk, except for records
// of changes that were already made, that it warns in time, and that it
// recovers.
func TestReserve(t *testing.T) {
	path := logPath(t)
	synctest.Test(t, func(t *testing.T) {
		const reserve = 1 << 20
		fs := &freeFS{FS: OS()}
		fs.free.Store(reserve)
		l := mustOpen(t, path, &Options{FS: fs, Reserve: reserve})
		w := newWriter()
		refused := func() {
			t.Helper()
			_, body := w.body()
			if err := l.Append(body); !errors.Is(err, ErrUnavailable) || !errors.Is(l.Err(), ErrUnavailable) {
				t.Errorf("Append returns %v, Err %v", err, l.Err())
			}
			if room, ok := l.Room(); room != 0 || !ok {
				t.Errorf("Room returns %d, %v", room, ok)
			}
		}
		refused() // from the start
		id, body := w.body()
		if err := l.AppendPending(body); err != nil {
			t.Errorf("record of a change: %v", err)
		}
		w.took = append(w.took, id)
		fs.free.Store(reserve + 5_000)
		time.Sleep(2 * watchInterval)
		synctest.Wait()
		if err := l.Err(); err != nil {
			t.Errorf("with free space, Err returns %v", err)
		}
		if warnings := l.Warnings(); len(warnings) != 1 {
			t.Errorf("with little space, the warnings are %q", warnings)
		}
		// The disk fills up between two checks.
		fs.free.Store(reserve)
		for range 5_000 / 200 {
			_, body := w.body()
			if err := l.Append(body); err != nil {
				break
			}
		}
		refused()
		fs.free.Store(1 << 40)
		time.Sleep(2 * watchInterval)
		synctest.Wait()
		w.append(t, l, 1)
		if warnings := l.Warnings(); len(warnings) != 0 {
			t.Errorf("with much space, the warnings are %q", warnings)
		}
		mustClose(t, l)
	})
}
