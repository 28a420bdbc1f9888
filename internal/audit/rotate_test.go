package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRotateBySize(t *testing.T) {
	path := logPath(t)
	at := testTime // constant, so that names collide
	l := mustOpen(t, path, &Options{MaxBytes: 1000, Now: func() time.Time { return at }})
	w := newWriter()
	w.append(t, l, 20)
	mustClose(t, l)
	report := checkLog(t, path, nil, w.took)
	if report.Files < 5 {
		t.Errorf("there are %d files", report.Files)
	}
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1000 || info.Mode() != 0o600 {
			t.Errorf("%s has %d bytes and mode %v", name, info.Size(), info.Mode())
		}
		if suffix := strings.TrimPrefix(name, path); suffix != "" && !strings.HasPrefix(suffix, "-20260301T093000.5") {
			t.Errorf("suffix: %s", suffix)
		}
	}
}

func TestRotateClosesFiles(t *testing.T) {
	d := newDisk()
	l := mustOpen(t, logPath(t), &Options{MaxBytes: 1000, FS: d})
	newWriter().append(t, l, 20)
	if d.files != 1 {
		t.Errorf("%d files are open", d.files)
	}
	mustClose(t, l)
	if d.files != 0 {
		t.Errorf("%d files are open after Close", d.files)
	}
}

func TestRecordLongerThanFile(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, &Options{MaxBytes: 10})
	w := newWriter()
	w.append(t, l, 3)
	mustClose(t, l)
	if report := checkLog(t, path, nil, w.took); report.Files != 3 {
		t.Errorf("three lines are in %d files", report.Files)
	}
}

func TestNoLimit(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, &Options{MaxBytes: -1})
	w := newWriter()
	w.append(t, l, 10)
	mustClose(t, l)
	if report := checkLog(t, path, nil, w.took); report.Files != 1 {
		t.Errorf("there are %d files", report.Files)
	}
}

func TestRotateKeepsEmptyFile(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	for range 3 {
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(path + "*")
	if len(names) != 1 {
		t.Errorf("there are %v", names)
	}
}

// An operator's tool moves the file, perhaps creates a new one, and calls
// Rotate.
func TestRotateAfterMove(t *testing.T) {
	for _, tt := range []struct {
		name string
		make bool
	}{{"no new file", false}, {"a new file", true}} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			l := mustOpen(t, path, nil)
			w := newWriter()
			for range 3 {
				w.append(t, l, 2)
				shift(t, path)
				if tt.make {
					mustWrite(t, path, nil)
				}
				w.append(t, l, 2) // goes to the moved file
				checkLog(t, path, nil, w.took)
				if err := l.Rotate(); err != nil {
					t.Fatal(err)
				}
			}
			w.append(t, l, 1)
			end := mustSync(t, l)
			mustClose(t, l)
			if report := checkLog(t, path, &end, w.took); report.Files != 4 {
				t.Errorf("there are %d files", report.Files)
			}
		})
	}
}

// shift renames path.2 to path.3, path.1 to path.2 and path to path.1.
func shift(tb testing.TB, path string) {
	tb.Helper()
	names := []string{path, path + ".1", path + ".2", path + ".3"}
	for i := 2; i >= 0; i-- {
		if err := os.Rename(names[i], names[i+1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Fatal(err)
		}
	}
}

func TestRotateDoesNotTouchAnotherFile(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	w.append(t, l, 2)
	shift(t, path)
	mustWrite(t, path, []byte("something else\n"))
	if err := l.Rotate(); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Fatalf("got %v", err)
	}
	w.append(t, l, 2)
	if err := l.Err(); err != nil {
		t.Errorf("the log is writable, but Err returns %v", err)
	}
	if got := mustRead(t, path); string(got) != "something else\n" {
		t.Errorf("the other file now contains %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.append(t, l, 2)
	mustClose(t, l)
	checkLog(t, path, nil, w.took)
}

// TestRotateFails checks that a rotation that fails before or after any step
// leaves a writable log, and that the next one succeeds.
func TestRotateFails(t *testing.T) {
	for p := BeforeRename; p <= AfterCreate; p++ {
		t.Run(pointNames[p], func(t *testing.T) {
			path := logPath(t)
			failing := false
			l := mustOpen(t, path, &Options{MaxBytes: 1000, FS: hooked(OS(), func(at Point) error {
				if failing && at == p {
					return errors.New("hook")
				}
				return nil
			})})
			w := newWriter()
			w.append(t, l, 2)
			failing = true
			if err := l.Rotate(); err == nil {
				t.Error("the hook was not called")
			}
			w.append(t, l, 10) // more than fit
			mustSync(t, l)
			checkLog(t, path, nil, w.took)
			failing = false
			w.append(t, l, 10)
			end := mustSync(t, l)
			mustClose(t, l)
			if report := checkLog(t, path, &end, w.took); report.Files < 4 {
				t.Errorf("there are %d files", report.Files)
			}
			if names, _ := filepath.Glob(path); len(names) != 1 {
				t.Error("no file at the log's path")
			}
		})
	}
}

var pointNames = map[Point]string{
	BeforeWrite: "before write", AfterWrite: "after write", BeforeSync: "before sync", AfterSync: "after sync",
	BeforeDirSync: "before directory sync", AfterDirSync: "after directory sync", BeforeRename: "before rename",
	AfterRename: "after rename", BeforeCreate: "before create", AfterCreate: "after create", BeforeCut: "before cut", AfterCut: "after cut",
}
