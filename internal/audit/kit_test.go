package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testTime is the time of the tests' records.
var testTime = time.Date(2026, 3, 1, 9, 30, 0, 500_000_000, time.UTC)

// logPath returns the path for a log in its own directory.
func logPath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "audit.log")
}

func mustOpen(tb testing.TB, path string, opts *Options) *Log {
	tb.Helper()
	l, err := Open(path, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() }) // ErrClosed if the test has closed it
	return l
}

func mustClose(tb testing.TB, l *Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

func mustSync(tb testing.TB, l *Log) Checkpoint {
	tb.Helper()
	c, err := l.Sync()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// writer makes records and remembers those that the log accepted.
type writer struct {
	ids  *IDSource
	took []ID
}

func newWriter() *writer { return &writer{ids: NewIDs()} }

func (w *writer) body() (ID, []byte) {
	r := Record{
		ID: w.ids.Next(), Time: testTime, Action: "secrets.read", Outcome: Allowed,
		Organization: "0a1b2c3d4e5f6071", User: "0b1b2c3d4e5f6071", Names: []string{"db-password"},
	}
	return r.ID, r.Append(nil)
}

func (w *writer) append(tb testing.TB, l *Log, n int) {
	tb.Helper()
	for range n {
		id, body := w.body()
		if err := l.Append(body); err != nil {
			tb.Fatal(err)
		}
		w.took = append(w.took, id)
	}
}

// newLogWith writes a log of one file with n lines and returns its end.
func newLogWith(tb testing.TB, path string, n int) Checkpoint {
	tb.Helper()
	l := mustOpen(tb, path, nil)
	newWriter().append(tb, l, n)
	defer mustClose(tb, l)
	return mustSync(tb, l)
}

// newRotatedLog writes a log with one file for each count, with that number of
// lines. It returns the file names in order and the end of the log.
func newRotatedLog(tb testing.TB, path string, counts ...int) (names []string, end Checkpoint) {
	tb.Helper()
	at := testTime
	l := mustOpen(tb, path, &Options{Now: func() time.Time { return at }})
	w := newWriter()
	for i, n := range counts {
		if i > 0 {
			if err := l.Rotate(); err != nil {
				tb.Fatal(err)
			}
			names = append(names, path+at.Format("-20060102T150405.000000000Z"))
			at = at.Add(time.Hour)
		}
		w.append(tb, l, n)
	}
	defer mustClose(tb, l)
	return append(names, path), mustSync(tb, l)
}

// readEntries returns all lines of the log.
func readEntries(tb testing.TB, path string) []Entry {
	tb.Helper()
	var entries []Entry
	err := Tail(context.Background(), path, -1, false, func(line []byte) error {
		e, err := Parse(line)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

// checkLog verifies the log and that it contains each of the IDs exactly once,
// and otherwise only those in maybe.
func checkLog(tb testing.TB, path string, since *Checkpoint, ids []ID, maybe ...ID) Report {
	tb.Helper()
	report, err := Verify(context.Background(), path, since)
	if err != nil {
		tb.Fatal(err)
	}
	if report.Torn != 0 {
		tb.Fatalf("the log ends with a torn line of %d bytes", report.Torn)
	}
	times := make(map[ID]int)
	for i, e := range readEntries(tb, path) {
		times[e.ID]++
		if want := report.First + uint64(i); e.Seq != want {
			tb.Fatalf("line %d has number %d", want, e.Seq)
		}
	}
	for _, id := range ids {
		if times[id] != 1 {
			tb.Fatalf("record %v is in the log %d times", id, times[id])
		}
		delete(times, id)
	}
	for _, id := range maybe {
		if times[id] > 1 {
			tb.Fatalf("record %v is in the log %d times", id, times[id])
		}
		delete(times, id)
	}
	if len(times) != 0 {
		tb.Fatalf("the log contains %d records that were never appended", len(times))
	}
	return report
}

// wantDamage checks that err reports this file, line and reason.
func wantDamage(tb testing.TB, err error, file string, line int, why string) {
	tb.Helper()
	var d *DamageError
	if !errors.As(err, &d) {
		tb.Fatalf("got error %v, want damage in %s, line %d", err, file, line)
	}
	if filepath.Base(d.File) != filepath.Base(file) || d.Line != line || !bytes.Contains([]byte(d.Error()), []byte(why)) {
		tb.Fatalf("got %q, want %s, line %d and %q", d, filepath.Base(file), line, why)
	}
}

func mustRead(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustWrite(tb testing.TB, name string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// copyLog copies the directory of the log at path, as a killed process would
// leave it, and returns the path of the copy.
func copyLog(tb testing.TB, path string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(path))); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(to, filepath.Base(path))
}

// Point is a moment in the log's work on files: before or after a step.
type Point int

const (
	BeforeWrite Point = iota + 1
	AfterWrite
	BeforeSync // of the file
	AfterSync
	BeforeDirSync // of its directory
	AfterDirSync
	BeforeRename // of the old file, in a rotation
	AfterRename
	BeforeCreate
	AfterCreate
	BeforeCut // of a partial line
	AfterCut
)

// hooked calls hook at each Point. An error before a step means that the step
// fails; an error after it means that it succeeds but is reported as failed.
func hooked(base FS, hook func(Point) error) FS { return &hookFS{base, hook} }

type hookFS struct {
	FS
	hook func(Point) error
}

func (h *hookFS) around(before Point, step func() error) error {
	if err := h.hook(before); err != nil {
		return err
	}
	if err := step(); err != nil {
		return err
	}
	return h.hook(before + 1)
}

func (h *hookFS) Open(path string, flag int) (f File, err error) {
	open := func() error { f, err = h.FS.Open(path, flag); return err }
	if flag&os.O_CREATE == 0 {
		err = open()
	} else if err = h.around(BeforeCreate, open); err != nil && f != nil {
		f.Close()
	}
	if err != nil {
		return nil, err
	}
	return &hookFile{f, h}, nil
}

func (h *hookFS) Rename(from, to string) error {
	return h.around(BeforeRename, func() error { return h.FS.Rename(from, to) })
}

func (h *hookFS) SyncDir(dir string) error {
	return h.around(BeforeDirSync, func() error { return h.FS.SyncDir(dir) })
}

type hookFile struct {
	File
	fs *hookFS
}

func (f *hookFile) Write(b []byte) (n int, err error) {
	err = f.fs.around(BeforeWrite, func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f *hookFile) Datasync() error { return f.fs.around(BeforeSync, f.File.Datasync) }

func (f *hookFile) Truncate(size int64) error {
	return f.fs.around(BeforeCut, func() error { return f.File.Truncate(size) })
}

// holdTurn keeps others from using the log's file.
func holdTurn(l *Log) (release func()) {
	held, done := make(chan struct{}), make(chan struct{})
	go l.exclusive(func() error {
		close(held)
		<-done
		return nil
	})
	<-held
	return func() { close(done) }
}

// disk opens files that fail as configured.
type disk struct {
	FS
	mu       sync.Mutex
	room     int64 // bytes that can still be written; negative: no limit
	short    bool  // a write without space returns no error
	sync     error // of Datasync
	forget   bool  // a failed Datasync zeros the unsynced bytes
	truncate error // of Truncate
	open     error // of opening
	syncs    int   // number of calls of Datasync
	rewrote  int   // number of bytes that WriteAt wrote
	files    int   // number of open files
}

func newDisk() *disk { return &disk{FS: OS(), room: -1} }

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *disk) Open(path string, flag int) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return nil, d.open
	}
	f, err := d.FS.Open(path, flag)
	if err != nil {
		return nil, err
	}
	d.files++
	return &diskFile{osFile: f.(osFile), disk: d}, nil
}

type diskFile struct {
	osFile
	disk   *disk
	synced int64
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	room := f.disk.room
	if room < 0 || int64(len(p)) <= room {
		if room >= 0 {
			f.disk.room -= int64(len(p))
		}
		return f.osFile.Write(p)
	}
	n, err := f.osFile.Write(p[:room])
	f.disk.room = 0
	if err == nil && !f.disk.short {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.rewrote += len(p)
	return f.osFile.WriteAt(p, off)
}

func (f *diskFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.files--
	return f.osFile.Close()
}

func (f *diskFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.truncate != nil {
		return f.disk.truncate
	}
	return f.osFile.Truncate(size)
}

func (f *diskFile) Datasync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.syncs++
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if f.disk.sync == nil {
		f.synced = info.Size()
		return nil // these tests need no real sync
	}
	if f.disk.forget {
		if err := zero(f.Name(), f.synced, info.Size()); err != nil {
			return err
		}
	}
	return f.disk.sync
}

// waitQueued waits until n callers of Append are in the queue.
func waitQueued(l *Log, n int) {
	for queued := 0; queued < n; runtime.Gosched() {
		queued = 0
		l.queue.mu.Lock()
		for r := l.queue.first; r != nil; r = r.next {
			queued++
		}
		l.queue.mu.Unlock()
	}
}

// zero overwrites part of a file with zeros.
func zero(name string, from, to int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, to-from), from); err != nil {
		return fmt.Errorf("zero: %w", err)
	}
	return nil
}

// readRecord parses a record from Record.Append.
func readRecord(body []byte) (Record, error) {
	id, err := checkBody(body)
	if err != nil {
		return Record{}, err
	}
	return parseRecord(body, id)
}
