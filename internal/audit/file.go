package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// handle is the file being written. It can be synced while the log moves on to
// another file.
type handle struct {
	File

	// mu is held during a sync, so that the next one starts only after the
	// result of this one is known.
	mu     sync.Mutex
	closed bool

	// failed means that a sync failed. Linux then considers the pages clean
	// although they did not reach the disk, so another sync would succeed
	// without writing them; see Log.redo.
	failed atomic.Bool
}

var errSyncFailed = errors.New("an earlier sync failed")

// sync makes the written data durable. A handle is closed only after a sync,
// so a closed one needs no other.
func (h *handle) sync() (fs.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.failed.Load():
		return nil, errSyncFailed
	case h.closed:
		return nil, nil
	}
	if err := h.Datasync(); err != nil {
		h.failed.Store(true)
		return nil, err
	}
	return h.Stat()
}

// stat returns nil for a closed handle.
func (h *handle) stat() (fs.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil
	}
	return h.Stat()
}

func (h *handle) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return h.Close()
}

// resolve follows a symbolic link at path: rotation must rename the file, not
// the link.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSymlink == 0 {
			return resolve(path) // a rotation has just created it
		}
		return "", fmt.Errorf("%s is a dangling symbolic link", path)
	}
	return path, nil
}

// wholeEnd returns where the last whole line ends: after the last newline
// before size, or 0.
func wholeEnd(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		b := buf[:end-start]
		if _, err := r.ReadAt(b, start); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// syncDir makes changes to the log's directory durable.
func (l *Log) syncDir() error {
	if err := l.fs.SyncDir(filepath.Dir(l.path)); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
