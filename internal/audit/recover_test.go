package audit

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/race"
)

// pendingOf yields bodies with their IDs, reusing one buffer.
func pendingOf(bodies ...[]byte) func(func(ID, []byte) error) error {
	return func(yield func(ID, []byte) error) error {
		var buf []byte
		for _, body := range bodies {
			id, err := checkBody(body)
			if err != nil {
				return err
			}
			buf = append(buf[:0], body...)
			if err := yield(id, buf); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestRecover(t *testing.T) {
	// Ten records are in three files, and the checkpoint is after each of them
	// in turn: the pending records after it are in the log already. Two more
	// pending records are not in the log.
	for at := range 11 {
		path := logPath(t)
		l := mustOpen(t, path, nil)
		w := newWriter()
		var since Checkpoint
		var pending [][]byte
		for i := range 10 {
			if i == at {
				since = mustSync(t, l)
			}
			id, body := w.body()
			if err := l.Append(body); err != nil {
				t.Fatal(err)
			}
			w.took = append(w.took, id)
			if i >= at {
				pending = append(pending, body)
			}
			if i == 3 || i == 6 {
				if err := l.Rotate(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if at == 10 {
			since = mustSync(t, l)
		}
		mustClose(t, l)
		for range 2 {
			id, body := w.body()
			w.took = append(w.took, id)
			pending = append(pending, body)
		}
		for round, want := range []int{2, 0, 0} {
			l := mustOpen(t, path, nil)
			n, err := l.Recover(since, pendingOf(append(pending, pending[0])...))
			if n != want || err != nil {
				t.Fatalf("checkpoint %d, round %d: Recover returns %d, %v", at, round, n, err)
			}
			mustSync(t, l)
			mustClose(t, l)
		}
		checkLog(t, path, &since, w.took)
	}
}

func TestRecoverManyFromPackedFiles(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	w.append(t, l, 100)
	since := mustSync(t, l)
	var pending [][]byte
	for i := range 3000 {
		id, body := w.body()
		w.took = append(w.took, id)
		pending = append(pending, body)
		if i%3 > 0 {
			if err := l.Append(body); err != nil {
				t.Fatal(err)
			}
		}
		if i == 1000 {
			shift(t, path)
			if err := l.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, l)
	gzipFile(t, path+".1")
	l = mustOpen(t, path, &Options{MaxBytes: 200_000})
	if n, err := l.Recover(since, pendingOf(pending...)); n != 1000 || err != nil {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	end := mustSync(t, l)
	mustClose(t, l)
	checkLog(t, path, &end, w.took)
}

func TestRecoverOlderLogIsBroken(t *testing.T) {
	// Verify reports a damaged old file; the server still starts.
	path := logPath(t)
	names, end := newRotatedLog(t, path, 3, 3, 3)
	mustWrite(t, names[0], []byte("broken\n"))
	l := mustOpen(t, path, nil)
	w := newWriter()
	w.append(t, l, 1)
	_, body := w.body()
	if n, err := l.Recover(end, pendingOf(body)); n != 1 || err != nil {
		t.Errorf("Recover returns %d, %v", n, err)
	}
}

func TestRecoverChecksCheckpoint(t *testing.T) {
	path := logPath(t)
	names, end := newRotatedLog(t, path, 4, 4, 4)
	other := end
	other.Hash[3] ^= 1
	for _, tt := range []struct {
		name  string
		since Checkpoint
		edit  func(t *testing.T, path string)
		err   error
		why   string
	}{
		{"another hash", other, nil, ErrCheckpoint, "instead of"},
		{"later line", Checkpoint{Seq: 13}, nil, ErrCheckpoint, "ends at line 12"},
		{"end removed", end, func(t *testing.T, path string) {
			b := mustRead(t, path)
			mustWrite(t, path, b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1])
		}, ErrCheckpoint, "ends at line 11"},
		{"last file removed", end, func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, ErrCheckpoint, "ends at line 8"},
		{"checkpoint's file removed", Checkpoint{Seq: 6}, func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), filepath.Base(names[1]))); err != nil {
				t.Fatal(err)
			}
		}, ErrCheckpoint, "line 6 is missing before line 9"},
		{"later line changed", Checkpoint{Seq: 2}, func(t *testing.T, path string) {
			b := mustRead(t, path)
			mustWrite(t, path, bytes.Replace(b, []byte("db-"), []byte("DB-"), 1))
		}, nil, "one of the two was changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := copyLog(t, path)
			if tt.since.Hash == (Hash{}) && tt.since.Seq < 12 {
				tt.since = checkpointOf(t, path, tt.since.Seq)
			}
			if tt.edit != nil {
				tt.edit(t, path)
			}
			l, err := Open(path, nil)
			if err == nil {
				defer l.Close()
				_, err = l.Recover(tt.since, pendingOf([]byte(goodBody)))
			}
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("got %v", err)
			}
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("got %v, want %q", err, tt.why)
			}
		})
	}
}

// checkpointOf returns a line's checkpoint, taken from the line after it.
func checkpointOf(tb testing.TB, path string, seq uint64) Checkpoint {
	tb.Helper()
	for _, e := range readEntries(tb, path) {
		if e.Seq == seq+1 {
			return Checkpoint{Seq: seq, Hash: e.Prev}
		}
	}
	tb.Fatalf("no line follows line %d", seq)
	return Checkpoint{}
}

// If all files are missing, on purpose or not, the numbers continue, so that
// the gap stays visible.
func TestRecoverContinuesWithoutFiles(t *testing.T) {
	path := logPath(t)
	since := newLogWith(t, path, 5)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, path, nil)
	w := newWriter()
	id, body := w.body()
	if n, err := l.Recover(since, pendingOf(body)); n != 1 || err != nil {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	w.append(t, l, 2)
	end := mustSync(t, l)
	mustClose(t, l)
	for _, check := range []Checkpoint{since, end} {
		report := checkLog(t, path, &check, append(w.took, id))
		if report.First != 6 || report.Missing != 5 || report.Lines != 3 {
			t.Errorf("got %+v", report)
		}
	}
	since.Hash[0] ^= 1
	if _, err := Verify(t.Context(), path, &since); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("with a wrong hash: %v", err)
	}
	// Once more from the same checkpoint: nothing is left to do.
	since.Hash[0] ^= 1
	l = mustOpen(t, path, nil)
	if n, err := l.Recover(since, pendingOf(body)); n != 0 || err != nil {
		t.Errorf("Recover returns %d, %v", n, err)
	}
}

// A store restored from a backup has an old checkpoint.
func TestRecoverAfterOldFilesWereRemoved(t *testing.T) {
	path := logPath(t)
	names, _ := newRotatedLog(t, path, 3, 3, 3)
	since := checkpointOf(t, path, 1)
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, path, nil)
	_, body := newWriter().body()
	if n, err := l.Recover(since, pendingOf(body)); n != 1 || err != nil {
		t.Errorf("Recover returns %d, %v", n, err)
	}
}

func TestRecoverRefusesPending(t *testing.T) {
	l := mustOpen(t, logPath(t), nil)
	broken := errors.New("broken")
	for name, pending := range map[string]func(func(ID, []byte) error) error{
		"another ID": func(yield func(ID, []byte) error) error { return yield(ID{1}, []byte(goodBody)) },
		"no record":  func(yield func(ID, []byte) error) error { return yield(ID{}, []byte("{}")) },
		"an error":   func(func(ID, []byte) error) error { return broken },
	} {
		if n, err := l.Recover(Checkpoint{}, pending); n != 0 || err == nil {
			t.Errorf("%s: Recover returns %d, %v", name, n, err)
		}
	}
}

func TestRecoverOnFullDisk(t *testing.T) {
	path := logPath(t)
	d := newDisk()
	l := mustOpen(t, path, &Options{FS: d})
	w := newWriter()
	w.append(t, l, 3)
	since := mustSync(t, l)
	var pending [][]byte
	for range 10 {
		id, body := w.body()
		w.took = append(w.took, id)
		pending = append(pending, body)
	}
	d.set(func(d *disk) { d.room = 1500 })
	if n, err := l.Recover(since, pendingOf(pending...)); n != 0 || !errors.Is(err, ErrUnavailable) {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	d.set(func(d *disk) { d.room = -1 })
	if n, err := l.Recover(since, pendingOf(pending...)); n != 10 || err != nil {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	mustClose(t, l)
	checkLog(t, path, &since, w.took)
}

// domain imitates the domain: it stores records of changes until the log is
// synced, and the last checkpoint.
type domain struct {
	writer *writer
	outbox map[ID][]byte // durable at once, as a store is
	since  Checkpoint
	sure   map[ID]bool // successful: must be in the log
	reads  map[ID]bool // the successful records that are not in the outbox
	begun  []ID        // failed reads: not in the log
	maybe  []ID        // records of a killed process: may be in the log
}

func newDomain() *domain {
	return &domain{writer: newWriter(), outbox: map[ID][]byte{}, sure: map[ID]bool{}, reads: map[ID]bool{}}
}

// clone returns the domain as the next process finds it.
func (d *domain) clone() *domain {
	c := *d
	c.maybe, c.begun = slices.Concat(d.maybe, d.begun), nil
	c.writer = &writer{ids: NewIDs()}
	c.outbox, c.sure, c.reads = maps.Clone(d.outbox), maps.Clone(d.sure), maps.Clone(d.reads)
	return &c
}

func (d *domain) change(l *Log) error {
	id, body := d.writer.body()
	d.outbox[id] = body
	d.sure[id] = true // the change is durable, so its record must be in the log
	return l.AppendPending(body)
}

func (d *domain) read(l *Log) error {
	id, body := d.writer.body()
	d.begun = append(d.begun, id)
	err := l.Append(body)
	if err == nil {
		d.sure[id], d.reads[id] = true, true
		d.begun = d.begun[:len(d.begun)-1]
	}
	return err
}

func (d *domain) sync(l *Log) error {
	since, settled, err := l.Settle()
	if err != nil {
		return err
	}
	d.since = since
	for _, id := range settled {
		delete(d.outbox, id)
	}
	clear(d.reads) // now durable
	return nil
}

func (d *domain) recover(l *Log) error {
	ids := slices.SortedFunc(maps.Keys(d.outbox), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	_, err := l.Recover(d.since, func(yield func(ID, []byte) error) error {
		for _, id := range ids {
			if err := yield(id, d.outbox[id]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (d *domain) check(tb testing.TB, path string, maybe ...ID) {
	tb.Helper()
	checkLog(tb, path, &d.since, slices.Collect(maps.Keys(d.sure)), append(maybe, d.maybe...)...)
}

// run makes some accesses of each kind.
func (d *domain) run(tb testing.TB, l *Log, n int) {
	tb.Helper()
	steps := []func(*Log) error{d.change, d.read, d.change, d.sync, d.read, d.read, d.change}
	for i := range n {
		if err := steps[i%len(steps)](l); err != nil {
			tb.Fatal(err)
		}
	}
}

// crash is the state of the disk when the process ends at a point.
type crash struct {
	point  Point
	path   string
	domain *domain
}

// crashesOf runs work with a log whose options copy the disk at each point.
func crashesOf(tb testing.TB, path string, d *domain, work func(opts *Options)) []crash {
	tb.Helper()
	var crashes []crash
	work(&Options{MaxBytes: 1500, FS: hooked(newDisk(), func(p Point) error {
		crashes = append(crashes, crash{p, copyLog(tb, path), d.clone()})
		return nil
	})})
	return crashes
}

// start does what the server does when it starts.
func (d *domain) start(tb testing.TB, path string, opts *Options) *Log {
	tb.Helper()
	l := mustOpen(tb, path, opts)
	if err := d.recover(l); err != nil {
		tb.Fatal(err)
	}
	if err := d.sync(l); err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestCrashAtEachPoint checks that a process that ends at any point, and again
// at any point of the following start, neither loses nor duplicates a record.
func TestCrashAtEachPoint(t *testing.T) {
	race.SkipSequential(t)
	passed := make(map[Point]bool)
	d := newDomain()
	path := logPath(t)
	crashes := crashesOf(t, path, d, func(opts *Options) {
		l := mustOpen(t, path, opts)
		d.run(t, l, 30)
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		d.run(t, l, 3)
		shift(t, path)
		d.run(t, l, 3)
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		d.run(t, l, 3)
	})
	d.check(t, path)
	for i, c := range crashes {
		passed[c.point] = true
		// A crash may truncate the line being written anywhere.
		if c.point == AfterWrite && i%3 == 0 {
			name := c.path
			if _, err := os.Stat(name); err != nil {
				name += ".1"
			}
			b := mustRead(t, name)
			mustWrite(t, name, b[:len(b)-1-i%200])
		}
		again := crashesOf(t, c.path, c.domain, func(opts *Options) {
			mustClose(t, c.domain.start(t, c.path, opts))
		})
		c.domain.check(t, c.path)
		for _, c := range again {
			passed[c.point] = true
			l := c.domain.start(t, c.path, &Options{FS: newDisk()})
			c.domain.run(t, l, 3)
			mustClose(t, l)
			c.domain.check(t, c.path)
		}
	}
	for p := BeforeWrite; p <= AfterCut; p++ {
		if !passed[p] {
			t.Errorf("no crash was tried %s", pointNames[p])
		}
	}
}

func TestSettle(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	settle := func(want ...ID) Checkpoint {
		t.Helper()
		at, got, err := l.Settle()
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("Settle returns %v, %v, want %v", got, err, want)
		}
		if head := l.Head(); at != head {
			t.Errorf("the checkpoint is %v instead of %v", at, head)
		}
		return at
	}
	pending := func() (ID, []byte) {
		t.Helper()
		id, body := w.body()
		if err := l.AppendPending(body); err != nil {
			t.Fatal(err)
		}
		return id, body
	}
	settle()
	a, _ := pending()
	w.append(t, l, 2)
	b, _ := pending()
	mustSync(t, l)
	since := settle(a, b)
	settle()
	c, found := pending()
	mustClose(t, l)

	l = mustOpen(t, path, nil)
	d, missing := w.body()
	if n, err := l.Recover(since, pendingOf(found, missing)); n != 1 || err != nil {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	e, _ := pending()
	settle(c, d, e)

	// Records that may be lost with a file are not returned.
	pending()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, ids, err := l.Settle()
	if wantDamage(t, err, path, 0, "removed"); len(ids) > 0 {
		t.Errorf("Settle returns %v", ids)
	}
	f, _ := pending()
	settle(f)
}

// Records appended during Settle are neither covered nor returned.
func TestSettleDuringAppend(t *testing.T) {
	w := newWriter()
	var l *Log
	var during ID
	l = mustOpen(t, logPath(t), &Options{FS: hooked(OS(), func(p Point) error {
		if p != AfterSync || l == nil || during != (ID{}) {
			return nil
		}
		var body []byte
		during, body = w.body()
		return l.AppendPending(body)
	})})
	first, body := w.body()
	if err := l.AppendPending(body); err != nil {
		t.Fatal(err)
	}
	for i, want := range []*ID{&first, &during} { // the first call sets during
		at, got, err := l.Settle()
		if err != nil || at.Seq != uint64(i+1) || !slices.Equal(got, []ID{*want}) {
			t.Errorf("Settle returns %v, %v, %v, want %v", at, got, err, *want)
		}
	}
}

// TestSettleWhileAppending checks that concurrent changes, reads and settling
// never break what Recover relies on: each pending record is after the
// checkpoint, or not in the log.
func TestSettleWhileAppending(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, &Options{MaxBytes: -1, FS: newDisk()}) // copying one file is atomic
	d := newDomain()
	var mu sync.Mutex // the store's lock
	var writers, settler sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 300 {
				id, body := d.writer.body()
				mu.Lock()
				d.outbox[id] = body
				d.sure[id] = true
				mu.Unlock()
				if err := l.AppendPending(body); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	running := func() bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	settler.Go(func() {
		var left []ID // from failed transactions
		for i := 0; running(); i++ {
			since, settled, err := l.Settle()
			if err != nil {
				t.Error(err)
			}
			if left = append(left, settled...); i%3 == 0 {
				continue
			}
			mu.Lock()
			d.since = since
			for _, id := range left {
				delete(d.outbox, id)
			}
			mu.Unlock()
			left = nil
		}
	})
	defer settler.Wait()
	defer writers.Wait()
	for last := false; !last; {
		last = !running()
		// The store now, and the log a moment later.
		mu.Lock()
		next := d.clone()
		mu.Unlock()
		copied := copyLog(t, path)
		mustClose(t, next.start(t, copied, &Options{FS: newDisk()}))
		times := make(map[ID]int)
		for _, e := range readEntries(t, copied) {
			times[e.ID]++
		}
		for id := range next.sure {
			if times[id] != 1 {
				t.Fatalf("record %v is in the log %d times", id, times[id])
			}
		}
	}
}

// TestPowerLoss checks that a power failure, which removes or zeros any
// unsynced end of the last file, can lose reads but no changes.
func TestPowerLoss(t *testing.T) {
	d := newDomain()
	path := logPath(t)
	crashes := crashesOf(t, path, d, func(opts *Options) { d.run(t, mustOpen(t, path, opts), 40) })
	cuts := 0
	for i, c := range crashes {
		durable, size := durableSize(t, c.path, c.domain.since.Seq)
		if durable == size {
			continue
		}
		cuts++
		cut := durable + int64(i*37)%(size-durable)
		b := mustRead(t, c.path)
		if i%2 == 0 {
			b = b[:cut]
		} else {
			clear(b[cut:])
		}
		mustWrite(t, c.path, b)
		maybe := slices.Collect(maps.Keys(c.domain.reads))
		for _, id := range maybe {
			delete(c.domain.sure, id)
		}
		l := c.domain.start(t, c.path, nil)
		c.domain.run(t, l, 3)
		mustClose(t, l)
		c.domain.check(t, c.path, maybe...)
	}
	if cuts < 20 {
		t.Errorf("only %d crashes left unsynced bytes", cuts)
	}
}

// durableSize returns how much of the file at path was synced, given the
// number of the last synced line, and the file's size.
func durableSize(tb testing.TB, path string, seq uint64) (durable, size int64) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0
	}
	if err != nil {
		tb.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if n, _, ok := parseSeq(line); ok && n <= seq {
			durable += int64(len(line))
		}
	}
	return durable, int64(len(b))
}
