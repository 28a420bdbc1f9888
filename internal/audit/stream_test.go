//go:build unix

package audit

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	end, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
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
	copied := filepath.Join(t.TempDir(), "audit.log")
	b := make([]byte, 64<<10)
	k, err := end.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, copied, b[:k])
	checkLog(t, copied, nil, append(w.took, id))
}
