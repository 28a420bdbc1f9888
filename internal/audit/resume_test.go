package audit

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/race"
)

func TestOpenCreates(t *testing.T) {
	path := logPath(t)
	mustOpen(t, path, nil)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode: %v", info.Mode())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none", "audit.log"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: got %v", err)
	}
	if _, err := Open(dir, nil); err == nil {
		t.Error("a directory was accepted as a log")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, nil); err == nil {
		t.Error("a dangling link was accepted as a log")
	}
}

func TestOpenLocks(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	w.append(t, l, 1)
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open after a rotation: %v", err)
	}
	w.append(t, l, 1)
	shift(t, path)
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open after the file was moved: %v", err)
	}
	mustClose(t, l)
	w.append(t, mustOpen(t, path, nil), 1)
	checkLog(t, path, nil, w.took)
}

// The previous holder of the lock may rotate the log and exit between our open
// and lock.
func TestOpenWhileRotated(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 2)
	_, err := Open(path, &Options{FS: hooked(OS(), func(p Point) error {
		if p == AfterCreate { // the file is open now
			shift(t, path)
			mustWrite(t, path, nil)
		}
		return nil
	})})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestOpenFollowsLink(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 2)
	link := filepath.Join(t.TempDir(), "link.log")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, link, nil)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	newWriter().append(t, l, 1)
	mustClose(t, l)
	for _, p := range []string{path, link} {
		if report, err := Verify(t.Context(), p, nil); err != nil || report.Files != 2 || report.Lines != 3 {
			t.Errorf("%s: got %+v, %v", filepath.Base(p), report, err)
		}
	}
}

// A crash can leave any part of the last line, possibly followed by zeros.
func TestOpenRemovesTornLine(t *testing.T) {
	whole := logPath(t)
	newLogWith(t, whole, 4)
	b := mustRead(t, whole)
	third := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	for cut := third; cut < len(b); cut++ {
		for _, zeros := range []int{0, 1, 5000, 200_000} {
			if (zeros > 0 || min(cut-third, len(b)-cut) > 20) && cut%10 > 0 {
				continue // slow, without testing anything else
			}
			path := logPath(t)
			mustWrite(t, path, append(bytes.Clone(b[:cut]), make([]byte, zeros)...))
			l, err := Open(path, nil)
			if err != nil {
				t.Fatalf("%d bytes and %d zeros: %v", cut, zeros, err)
			}
			if l.Head().Seq != 3 {
				t.Fatalf("%d bytes and %d zeros: the head is line %d", cut, zeros, l.Head().Seq)
			}
			newWriter().append(t, l, 1)
			mustClose(t, l)
			if report, err := Verify(t.Context(), path, nil); err != nil || report.Lines != 4 || report.Torn != 0 {
				t.Fatalf("%d bytes and %d zeros: got %+v, %v", cut, zeros, report, err)
			}
		}
	}
}

func TestOpenRefusesDamagedEnd(t *testing.T) {
	whole := logPath(t)
	newLogWith(t, whole, 6)
	lines := bytes.SplitAfter(mustRead(t, whole), []byte{'\n'})[:6]
	for _, tt := range []struct {
		name   string
		damage func(lines [][]byte) [][]byte
		line   int
		why    string
	}{
		{"text after it", func(l [][]byte) [][]byte { return append(l, []byte("hello")) }, 7, "other than the start of the next line"},
		{"the wrong next line", func(l [][]byte) [][]byte { return append(l, l[4][:50]) }, 7, "other than the start of the next line"},
		{"text and a newline", func(l [][]byte) [][]byte { return append(l, []byte("hello\n")) }, 7, "not a line of an audit log"},
		{"a hole", func(l [][]byte) [][]byte { clear(l[3]); return l }, 4, "not a line of an audit log"},
		{"a missing line", func(l [][]byte) [][]byte { return append(l[:3], l[4:]...) }, 4, "line 3 of the log is followed by line 5"},
		{"a changed line", func(l [][]byte) [][]byte { l[3][150] ^= 1; return l }, 5, "one of the two was changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			in := make([][]byte, len(lines))
			for i := range lines {
				in[i] = bytes.Clone(lines[i])
			}
			damaged := bytes.Join(tt.damage(in), nil)
			mustWrite(t, path, damaged)
			_, err := Open(path, nil)
			wantDamage(t, err, path, tt.line, tt.why)
			if got := mustRead(t, path); !bytes.Equal(got, damaged) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func TestOpenDoesNotTouchAnotherFile(t *testing.T) {
	for name, text := range map[string]string{"text": "root:x:0:0\n", "one word": "word", "no newline": "{\"seq\"}", "binary": "\x7fELF\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			mustWrite(t, path, []byte(text))
			if _, err := Open(path, nil); err == nil {
				t.Error("accepted as a log")
			}
			if got := mustRead(t, path); string(got) != text {
				t.Errorf("it now contains %q", got)
			}
		})
	}
}

func TestOpenVerifiesLongLines(t *testing.T) {
	race.SkipSequential(t)
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	for _, size := range []int{10, 3 << 20, 10, 1 << 20, 5 << 20} {
		r := Record{ID: w.ids.Next(), Time: testTime, Detail: strings.Repeat("x", size)}
		if err := l.Append(r.Append(nil)); err != nil {
			t.Fatal(err)
		}
		w.took = append(w.took, r.ID)
		mustClose(t, l)
		l = mustOpen(t, path, nil)
	}
	w.append(t, l, 1)
	mustClose(t, l)
	checkLog(t, path, nil, w.took)
}

func gzipFile(tb testing.TB, name string) {
	tb.Helper()
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	zw.Write(mustRead(tb, name))
	zw.Close()
	mustWrite(tb, name+".gz", packed.Bytes())
	if err := os.Remove(name); err != nil {
		tb.Fatal(err)
	}
}

// The server was stopped after the file was moved and before SIGHUP.
func TestOpenContinuesRotatedFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(t *testing.T, path string)
	}{
		{"moved", func(*testing.T, string) {}},
		{"moved, and a new file created", func(t *testing.T, path string) { mustWrite(t, path, nil) }},
		{"moved and compressed", func(t *testing.T, path string) { gzipFile(t, path+".1") }},
		{"moved with a torn line", func(t *testing.T, path string) {
			mustWrite(t, path+".1", append(mustRead(t, path+".1"), `{"seq":11,"prev":"`...))
		}},
		{"moved, with a torn line in the new file", func(t *testing.T, path string) { mustWrite(t, path, []byte(`{"seq":11,"pr`)) }},
		{"moved twice, with a torn line in the newest", func(t *testing.T, path string) { mustWrite(t, path+".0", []byte(`{"seq":11,"pr`)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			l := mustOpen(t, path, nil)
			w := newWriter()
			w.append(t, l, 5)
			shift(t, path)
			if err := l.Rotate(); err != nil {
				t.Fatal(err)
			}
			w.append(t, l, 5)
			end := mustSync(t, l)
			mustClose(t, l)
			shift(t, path)
			tt.after(t, path)
			if _, err := Verify(t.Context(), path, &end); err != nil {
				t.Errorf("before Open: %v", err)
			}
			l = mustOpen(t, path, nil)
			if l.Head() != end {
				t.Errorf("continues from %v instead of %v", l.Head(), end)
			}
			w.append(t, l, 2)
			mustClose(t, l)
			checkLog(t, path, &end, w.took)
		})
	}
}

func TestOpenRefusesUnreadablePredecessor(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 3)
	shift(t, path)
	mustWrite(t, path+".1.xz", []byte("\xfd7zXZ\x00\n\n"))
	_, err := Open(path, nil)
	wantDamage(t, err, path+".1.xz", 1, "not a line")
}

// TestResolveDuringRotation checks that a file that comes and goes isn't taken for a link.
func TestResolveDuringRotation(t *testing.T) {
	path := logPath(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 20_000 {
		if _, err := resolve(path); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-stopped
}
