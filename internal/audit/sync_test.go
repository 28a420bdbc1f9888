package audit

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

func TestSyncWithoutChanges(t *testing.T) {
	d := newDisk()
	l := mustOpen(t, logPath(t), &Options{FS: d})
	newWriter().append(t, l, 2)
	want := mustSync(t, l)
	syncs := d.syncs
	for range 3 {
		if got := mustSync(t, l); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if d.syncs != syncs {
		t.Errorf("%d unnecessary syncs", d.syncs-syncs)
	}
}

// Records appended during a sync are not covered by it.
func TestAppendDuringSync(t *testing.T) {
	d := newDisk()
	w := newWriter()
	var l *Log
	during := false
	l = mustOpen(t, logPath(t), &Options{FS: hooked(d, func(p Point) error {
		if during && p == AfterSync {
			during = false
			w.append(t, l, 1)
		}
		return nil
	})})
	w.append(t, l, 1)
	during = true
	if c := mustSync(t, l); c.Seq != 1 {
		t.Errorf("the checkpoint is %v", c)
	}
	syncs := d.syncs
	if c := mustSync(t, l); c.Seq != 2 || d.syncs != syncs+1 {
		t.Errorf("the next checkpoint is %v, after %d syncs", c, d.syncs-syncs)
	}
}

// A sync during a rotation says nothing about the new file.
func TestRotateDuringSync(t *testing.T) {
	path := logPath(t)
	d := newDisk()
	w := newWriter()
	var l *Log
	during := false
	l = mustOpen(t, path, &Options{FS: hooked(d, func(p Point) error {
		if during && p == BeforeDirSync {
			during = false
			w.append(t, l, 1)
			return l.Rotate()
		}
		return nil
	})})
	w.append(t, l, 1)
	if err := l.Rotate(); err != nil { // the directory still needs a sync
		t.Fatal(err)
	}
	w.append(t, l, 5)
	during = true
	if c := mustSync(t, l); c.Seq != 6 {
		t.Errorf("the checkpoint is %v", c)
	}
	w.append(t, l, 1)
	d.set(func(d *disk) { d.sync = syscall.EIO })
	if _, err := l.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync of the new file returns %v", err)
	}
	d.set(func(d *disk) { d.sync = nil })
	end := mustSync(t, l)
	mustClose(t, l)
	checkLog(t, path, &end, w.took)
}

// After a restart, the previous process's lines may not be durable.
func TestOpenSyncs(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 2)
	d := newDisk()
	mustOpen(t, path, &Options{FS: d})
	if d.syncs == 0 {
		t.Error("nothing was synced")
	}
}

func TestFailedSync(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func(l *Log) error
	}{
		{"in Sync", func(l *Log) error { _, err := l.Sync(); return err }},
		{"in Rotate", func(l *Log) error { return l.Rotate() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			d := newDisk()
			l := mustOpen(t, path, &Options{FS: d})
			w := newWriter()
			w.append(t, l, 3)
			first, durable := mustSync(t, l), l.size
			w.append(t, l, 3)
			lost := l.size - durable
			d.set(func(d *disk) { d.sync = syscall.EIO })
			for range 2 {
				if err := tt.call(l); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("got %v", err)
				}
				_, body := w.body()
				if err := l.Append(body); !errors.Is(err, ErrUnavailable) || !errors.Is(l.Err(), ErrUnavailable) {
					t.Fatalf("Append returns %v, Err %v", err, l.Err())
				}
			}
			// The disk works again, but its next sync does not count until the
			// lines have been rewritten.
			d.set(func(d *disk) { d.sync, d.open = nil, errors.New("no rewriting") })
			if _, err := l.Sync(); err == nil {
				t.Fatal("a sync without a rewrite was accepted")
			}
			d.set(func(d *disk) { d.open, d.rewrote = nil, 0 })
			if err := tt.call(l); err != nil {
				t.Fatal(err)
			}
			if int64(d.rewrote) != lost {
				t.Errorf("%d bytes were rewritten of %d that may be lost", d.rewrote, lost)
			}
			if err := l.Err(); err != nil {
				t.Errorf("Err returns %v", err)
			}
			w.append(t, l, 1)
			if end := mustSync(t, l); end.Seq != first.Seq+4 {
				t.Errorf("the checkpoint is %v", end)
			}
			mustClose(t, l)
			checkLog(t, path, &first, w.took)
		})
	}
}

// A rotation by size syncs, and must not ignore a failure.
func TestFailedSyncInRotationBySize(t *testing.T) {
	path := logPath(t)
	d := newDisk()
	l := mustOpen(t, path, &Options{MaxBytes: 1000, FS: d})
	w := newWriter()
	w.append(t, l, 3) // a fourth line does not fit
	d.set(func(d *disk) { d.sync = syscall.EIO })
	_, body := w.body()
	if err := l.Append(body); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("Append returns %v", err)
	}
	if l.Head().Seq != 3 {
		t.Errorf("line %d was written", l.Head().Seq)
	}
	d.set(func(d *disk) { d.sync = nil })
	w.append(t, l, 2)
	mustClose(t, l)
	if report := checkLog(t, path, nil, w.took); report.Files != 2 {
		t.Errorf("there are %d files", report.Files)
	}
}

// Lines lost in a failed sync that cannot be rewritten must be reported.
func TestFailedSyncLosesLines(t *testing.T) {
	path := logPath(t)
	d := newDisk()
	l := mustOpen(t, path, &Options{FS: d})
	w := newWriter()
	w.append(t, l, 3)
	durable := mustSync(t, l)
	w.append(t, l, 3)
	d.set(func(d *disk) { d.sync, d.forget = syscall.EIO, true })
	if _, err := l.Sync(); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("Sync returns %v", err)
	}
	d.set(func(d *disk) { d.sync, d.forget = nil, false })
	_, err := l.Sync()
	wantDamage(t, err, path, 0, "the lines after 3 were lost in a failed sync")
	w.append(t, l, 2)
	if end := mustSync(t, l); end.Seq != 8 {
		t.Errorf("the checkpoint is %v", end)
	}
	mustClose(t, l)
	if _, err := Verify(t.Context(), path, &durable); err == nil {
		t.Error("Verify reports nothing missing")
	}
}

func TestSyncDetectsForeignChanges(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(path string) error
		why  string
	}{
		{"removed", os.Remove, "was removed while it was written"},
		{"emptied", func(path string) error { return os.Truncate(path, 0) }, "was truncated from"},
		{"truncated", func(path string) error { return os.Truncate(path, 700) }, "was truncated from"},
	} {
		for _, synced := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				path := logPath(t)
				l := mustOpen(t, path, nil)
				w := newWriter()
				w.append(t, l, 5)
				var check Checkpoint
				if synced {
					check = mustSync(t, l)
				}
				if err := tt.do(path); err != nil {
					t.Fatal(err)
				}
				_, err := l.Sync()
				wantDamage(t, err, path, 0, tt.why)
				if warnings := l.Warnings(); len(warnings) != 1 {
					t.Errorf("the warnings are %q", warnings)
				}
				w.append(t, l, 2)
				end := mustSync(t, l)
				if end.Seq != 7 {
					t.Errorf("the checkpoint is %v", end)
				}
				mustClose(t, l)
				report, err := Verify(t.Context(), path, &end)
				if err == nil && (report.Missing != 5 || report.First != 6) {
					t.Errorf("Verify reports nothing missing: %+v", report)
				}
				if synced {
					if _, err := Verify(t.Context(), path, &check); tt.name == "cut" && err == nil {
						t.Error("Verify reports nothing missing")
					}
				}
			})
		}
	}
}

func TestDirectorySyncFails(t *testing.T) {
	fail := false
	path := logPath(t)
	l := mustOpen(t, path, &Options{FS: hooked(OS(), func(p Point) error {
		if fail && p == BeforeDirSync {
			return syscall.EIO
		}
		return nil
	})})
	w := newWriter()
	w.append(t, l, 1)
	fail = true
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.append(t, l, 1)
	for range 2 {
		if _, err := l.Sync(); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("Sync returns %v", err)
		}
	}
	fail = false
	end := mustSync(t, l)
	mustClose(t, l)
	checkLog(t, path, &end, w.took)
}

// TestRandomFaults checks that the log is correct after random failures in any
// order and crashes.
func TestRandomFaults(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	for seed := range rounds {
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(uint64(seed), 7))
		d := newDomain()
		dsk := newDisk()
		path := logPath(t)
		opts := &Options{MaxBytes: 3000, FS: dsk}
		l := mustOpen(t, path, opts)
		for range 150 {
			switch rnd.IntN(12) {
			case 0:
				dsk.set(func(d *disk) { d.room, d.short = rnd.Int64N(2000), rnd.IntN(2) == 0 })
			case 1:
				dsk.set(func(d *disk) { d.sync = syscall.EIO })
			case 2:
				dsk.set(func(d *disk) { d.truncate = syscall.EIO })
			case 3, 4:
				dsk.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
			case 5:
				_ = l.Rotate()
			case 6:
				_ = d.sync(l)
			case 7:
				if rnd.IntN(4) > 0 {
					continue
				}
				path, d = copyLog(t, path), d.clone()
				dsk.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
				_ = l.Close()
				l = d.start(t, path, opts)
			case 8, 9:
				if d.change(l) != nil {
					// The outbox may be emptied only after its records are in
					// the log.
					dsk.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
					for id, body := range d.outbox {
						if !inLog(t, path, id) {
							if err := l.AppendPending(body); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
			default:
				_ = d.read(l)
			}
		}
		dsk.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
		if err := d.read(l); err != nil {
			t.Fatal(err)
		}
		if err := d.sync(l); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		d.check(t, path)
	}
}

// inLog reports whether a whole line of the log has the ID. The end may be
// torn.
func inLog(tb testing.TB, path string, id ID) bool {
	tb.Helper()
	for _, e := range readEntries(tb, path) {
		if e.ID == id {
			return true
		}
	}
	return false
}
