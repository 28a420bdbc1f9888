package audit

import (
	"errors"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"sync"
	"syscall"
	"testing"
)

func TestAppendContinuesAfterRestart(t *testing.T) {
	path := logPath(t)
	w := newWriter()
	for range 3 {
		l := mustOpen(t, path, nil)
		w.append(t, l, 5)
		mustClose(t, l)
	}
	if report := checkLog(t, path, nil, w.took); report.First != 1 || report.Last.Seq != 15 {
		t.Errorf("got lines %d to %d", report.First, report.Last.Seq)
	}
}

func TestConcurrentAppend(t *testing.T) {
	const goroutines, each = 64, 50
	path := logPath(t)
	l := mustOpen(t, path, &Options{MaxBytes: 20_000})
	ids := NewIDs()
	took := make([][]ID, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			w := &writer{ids: ids}
			w.append(t, l, each)
			took[i] = w.took
		})
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // rotate and sync all the time
		var last Checkpoint
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			c, err := l.Sync()
			if err != nil || c.Seq < last.Seq {
				t.Errorf("Sync returns %v, %v after %v", c, err, last)
			}
			last = c
			if i%10 == 0 {
				if err := l.Rotate(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	others.Go(func() { // verify while the log is being written
		for {
			select {
			case <-done:
				return
			default:
			}
			check := mustSync(t, l)
			if _, err := Verify(t.Context(), path, &check); err != nil {
				t.Errorf("verify during writes: %v", err)
			}
		}
	})
	wg.Wait()
	close(done)
	others.Wait()
	end := mustSync(t, l)
	if head := l.Head(); head != end || end.Seq != goroutines*each {
		t.Errorf("the head is %v, but the checkpoint is %v", head, end)
	}
	mustClose(t, l)
	var all []ID
	for _, ids := range took {
		all = append(all, ids...)
	}
	if report := checkLog(t, path, &end, all); report.Files < 10 {
		t.Errorf("there are only %d files", report.Files)
	}
}

func TestAppendSharesWrites(t *testing.T) {
	// The first write waits until all the others are queued, so that they need
	// only one more write.
	const others = 40
	writes := 0
	inWrite, release := make(chan struct{}), make(chan struct{})
	l := mustOpen(t, logPath(t), &Options{FS: hooked(OS(), func(p Point) error {
		if p == BeforeWrite {
			if writes++; writes == 1 {
				close(inWrite)
				<-release
			}
		}
		return nil
	})})
	w := newWriter()
	var wg sync.WaitGroup
	add := func() {
		_, body := w.body()
		wg.Go(func() {
			if err := l.Append(body); err != nil {
				t.Error(err)
			}
		})
	}
	add()
	<-inWrite
	for range others {
		add()
	}
	waitQueued(l, others)
	close(release)
	wg.Wait()
	if writes != 2 || l.Head().Seq != others+1 {
		t.Errorf("%d lines took %d writes", l.Head().Seq, writes)
	}
}

func TestAppendBoundsBatches(t *testing.T) {
	path := logPath(t)
	writes := 0
	l := mustOpen(t, path, &Options{FS: hooked(OS(), func(p Point) error {
		if p == AfterWrite {
			writes++
		}
		return nil
	})})
	w := newWriter()
	release := holdTurn(l)
	var wg sync.WaitGroup
	for range 4 {
		id := w.ids.Next()
		w.took = append(w.took, id)
		r := Record{ID: id, Time: testTime, Detail: string(make([]byte, maxBatch/10))} // six bytes for each NUL
		wg.Go(func() {
			if err := l.Append(r.Append(nil)); err != nil {
				t.Error(err)
			}
		})
	}
	waitQueued(l, 4)
	release()
	wg.Wait()
	if writes != 4 { // two records are longer than maxBatch
		t.Errorf("four long records took %d writes", writes)
	}
	mustClose(t, l)
	checkLog(t, path, nil, w.took)
}

func TestAppendAllocatesNothing(t *testing.T) {
	l := mustOpen(t, logPath(t), nil)
	_, body := newWriter().body()
	if n := testing.AllocsPerRun(500, func() {
		if err := l.Append(body); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 && !race.Enabled {
		t.Errorf("Append allocates %v times", n)
	}
}

func TestAppendFailures(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		fault func(d *disk, line int64)
		cause error
	}{
		{"no space", func(d *disk, _ int64) { d.room = 0 }, syscall.ENOSPC},
		{"space for one byte", func(d *disk, _ int64) { d.room = 1 }, syscall.ENOSPC},
		{"space for all but the newline", func(d *disk, line int64) { d.room = line - 1 }, syscall.ENOSPC},
		{"a short write without an error", func(d *disk, _ int64) { d.room, d.short = 20, true }, nil},
		{"partial line that cannot be removed", func(d *disk, _ int64) { d.room, d.truncate = 20, broken }, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			d := newDisk()
			l := mustOpen(t, path, &Options{FS: d})
			w := newWriter()
			w.append(t, l, 3)
			before := l.Head()

			_, body := w.body()
			line, _ := appendLine(nil, before, body)
			d.set(func(d *disk) { tt.fault(d, int64(len(line))) })
			for range 3 {
				err := l.Append(body)
				if !errors.Is(err, ErrUnavailable) || !errors.Is(l.Err(), ErrUnavailable) {
					t.Fatalf("Append returns %v, Err %v", err, l.Err())
				}
				if tt.cause != nil && !errors.Is(err, tt.cause) && !errors.Is(err, broken) {
					t.Errorf("%v does not wrap the cause", err)
				}
			}
			if l.Head() != before {
				t.Error("the head is a line that was not written")
			}

			// The process may end here; the next one removes the partial line.
			after := copyLog(t, path)
			l2 := mustOpen(t, after, nil)
			mustClose(t, l2)
			checkLog(t, after, &before, w.took)

			// Or the disk works again.
			d.set(func(d *disk) { d.room, d.short, d.truncate = -1, false, nil })
			w.append(t, l, 3)
			if err := l.Err(); err != nil {
				t.Errorf("Err returns %v after a successful Append", err)
			}
			end := mustSync(t, l)
			mustClose(t, l)
			checkLog(t, path, &end, w.took)
		})
	}
}

// The whole lines of a failed write are removed too: their callers got an
// error.
func TestFailedBatchLeavesNothing(t *testing.T) {
	path := logPath(t)
	d := newDisk()
	l := mustOpen(t, path, &Options{FS: d})
	w := newWriter()
	w.append(t, l, 1)
	d.set(func(d *disk) { d.room = 1000 }) // three lines and a half
	release := holdTurn(l)
	var wg sync.WaitGroup
	_, first := w.body()
	wg.Go(func() {
		if err := l.Append(first); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	for range 9 {
		_, body := w.body()
		wg.Go(func() {
			if err := l.Append(body); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	waitQueued(l, 10)
	release()
	wg.Wait()
	checkLog(t, path, nil, w.took)
	mustClose(t, l)
}

// A write that succeeds but is reported as failed must not duplicate the line.
func TestWriteDoneButReportedAsFailed(t *testing.T) {
	path := logPath(t)
	var fail Point
	l := mustOpen(t, path, &Options{FS: hooked(OS(), func(p Point) error {
		if p == fail {
			return errors.New("hook")
		}
		return nil
	})})
	w := newWriter()
	w.append(t, l, 2)
	for _, fail = range []Point{BeforeWrite, AfterWrite, BeforeCut, AfterCut} {
		id, body := w.body()
		if fail == BeforeCut || fail == AfterCut {
			cut := fail
			fail = AfterWrite
			if err := l.Append(body); err == nil {
				t.Fatal("the hook was not called")
			}
			fail = cut
		}
		if err := l.Append(body); fail != BeforeCut && fail != AfterCut && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("point %d: got %v", fail, err)
		} else if err == nil {
			w.took = append(w.took, id)
			continue
		}
		fail = 0
		if err := l.Append(body); err != nil {
			t.Fatal(err)
		}
		w.took = append(w.took, id)
	}
	mustClose(t, l)
	checkLog(t, path, nil, w.took)
}

func TestClosedLog(t *testing.T) {
	l := mustOpen(t, logPath(t), nil)
	mustClose(t, l)
	_, body := newWriter().body()
	_, syncErr := l.Sync()
	for name, err := range map[string]error{"Append": l.Append(body), "Sync": syncErr, "Rotate": l.Rotate(), "Close": l.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s returns %v", name, err)
		}
	}
}
