//go:build unix

package audit

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// newPipe creates a named pipe and opens its end for reading.
func newPipe(t *testing.T) (path string, end *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	end, err := os.OpenFile(path, os.O_RDWR, 0) // without waiting for a writer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	return path, end
}

// checkPipe checks that the pipe contains each record once, in a valid chain.
func checkPipe(t *testing.T, end *os.File, ids []ID) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "audit.log")
	b := make([]byte, 64<<10)
	k, err := end.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, copied, b[:k])
	checkLog(t, copied, nil, ids)
}

func TestStream(t *testing.T) {
	path, end := newPipe(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	id, body := w.body()
	n, err := l.Recover(Checkpoint{Seq: 9}, func(yield func(ID, []byte) error) error { return yield(id, body) })
	if n != 1 || err != nil {
		t.Fatalf("Recover returns %d, %v", n, err)
	}
	w.append(t, l, 2)
	if err := l.Rotate(); err != nil {
		t.Error(err)
	}
	if c := mustSync(t, l); c.Seq != 3 {
		t.Errorf("the checkpoint is %v", c)
	}
	mustClose(t, l)
	checkPipe(t, end, append(w.took, id))
}

// TestHangingStream checks that no caller waits for a pipe that nobody reads.
func TestHangingStream(t *testing.T) {
	path, end := newPipe(t)
	w := newWriter()
	synctest.Test(t, func(t *testing.T) {
		fs := &hangingFS{FS: OS()}
		l := mustOpen(t, path, &Options{FS: fs})
		w.append(t, l, 1)
		release := fs.write.shut()
		id, body := w.body()
		begin := time.Now()
		if err := l.Append(body); !errors.Is(err, ErrUnavailable) || time.Since(begin) > maxWrite+2*watchInterval {
			t.Errorf("Append returns %v after %v", err, time.Since(begin))
		}
		begin = time.Now()
		if err := l.Close(); !errors.Is(err, ErrUnavailable) || time.Since(begin) > 0 {
			t.Errorf("Close returns %v after %v", err, time.Since(begin))
		}
		release() // start reading
		synctest.Wait()
		w.took = append(w.took, id)
		w.append(t, l, 2)
		mustClose(t, l)
	})
	checkPipe(t, end, w.took)
}

// TestDiscardingStream checks the warning about a log that discards its
// records.
func TestDiscardingStream(t *testing.T) {
	l := mustOpen(t, os.DevNull, nil)
	if warnings := l.Warnings(); len(warnings) != 1 {
		t.Errorf("the warnings are %q", warnings)
	}
	path, _ := newPipe(t)
	if warnings := mustOpen(t, path, nil).Warnings(); len(warnings) != 0 {
		t.Errorf("the warnings of a pipe are %q", warnings)
	}
}
