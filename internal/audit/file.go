package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// handle is a file that is being written, and which may be synced and left at
// the same time.
type handle struct {
	File

	// mu is held during a sync, so that none begins before the one before it
	// has told whether it failed.
	mu     sync.Mutex
	closed bool

	// failed says that a sync failed. Linux then takes the pages for clean
	// although they did not reach the disk, and the next sync would succeed
	// for nothing; see Log.redo.
	failed atomic.Bool
}

var errSyncFailed = errors.New("an earlier sync failed")

// sync makes what was written durable. A handle is closed only after that, so
// for one that is closed there is nothing to do.
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

// stat returns nothing for a handle that is closed.
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

// resolve follows path where it is a symbolic link: rotation renames, and must
// rename the file and not the link.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a symbolic link to nothing", path)
	}
	return path, nil
}

// wholeEnd returns where the last whole line ends: behind the last newline
// before size, or 0.
func wholeEnd(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		b := buf[:end-start]
		if _, err := r.ReadAt(b, start); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] == '\n' {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// syncDir makes the changes of the log's directory durable.
func (l *Log) syncDir() error {
	if err := l.fs.SyncDir(filepath.Dir(l.path)); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
