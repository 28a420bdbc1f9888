package audit

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// The reasons why the log cannot be written. Each can end by itself.
const (
	failing     = iota // a write or a sync failed
	hanging            // a turn has not ended
	syncHanging        // a sync has not ended
	diskFull           // only the reserve is free
	troubleKinds
)

type trouble struct{ p atomic.Pointer[error] }

func (t *trouble) get() error {
	if p := t.p.Load(); p != nil {
		return *p
	}
	return nil
}

func (t *trouble) swap(err *error) *error { return t.p.Swap(err) }

// Err returns nil while the log can be written, and otherwise an error that
// wraps ErrUnavailable. After a failed write, only the next Append or Sync
// tries again. So a caller that refuses to act because of Err should append a
// record of the refusal, which also detects when the disk works again.
func (l *Log) Err() error {
	for i := range l.troubles {
		if err := l.troubles[i].get(); err != nil {
			return err
		}
	}
	return nil
}

// Hanging reports whether a system call on the file does not return. One
// caller of Append may be waiting for it.
func (l *Log) Hanging() bool {
	return l.troubles[hanging].get() != nil || l.troubles[syncHanging].get() != nil
}

// fail records that the log cannot be written, and returns the error for
// callers.
func (l *Log) fail(cause error) error {
	return l.set(failing, fmt.Errorf("%w: %w", ErrUnavailable, cause))
}

func (l *Log) set(kind int, err error) error {
	if l.troubles[kind].swap(&err) == nil {
		l.logger.Error("audit log cannot be written", "path", l.path, "error", err)
	}
	return err
}

func (l *Log) clear(kind int) {
	if l.troubles[kind].get() != nil && l.troubles[kind].swap(nil) != nil {
		l.tellRecovered()
	}
}

func (l *Log) tellRecovered() {
	if l.Err() == nil {
		l.logger.Info("audit log can be written again", "path", l.path)
	}
}

// Warnings describes problems that do not prevent writing.
func (l *Log) Warnings() []string {
	l.warnings.Lock()
	all := slices.Clone(l.warnings.texts)
	l.warnings.Unlock()
	if room := l.room.Load(); room < lowRoom && l.Err() == nil {
		all = append(all, fmt.Sprintf("the audit log has only %d MiB left", room>>20))
	}
	return all
}

// warn logs a message with attributes, and adds a text to Warnings.
func (l *Log) warn(text, message string, attrs ...any) {
	l.warnings.Lock()
	if !slices.Contains(l.warnings.texts, text) {
		l.warnings.texts = append(l.warnings.texts, text)
	}
	l.warnings.Unlock()
	l.logger.Warn(message, append([]any{"path", l.path}, attrs...)...)
}

// lowRoom is the remaining space at which the log warns.
const lowRoom = 256 << 20

// Room returns how many bytes can be written until only the reserve is free on
// the disk. ok is false if that is unknown.
func (l *Log) Room() (bytes int64, ok bool) {
	room := l.room.Load()
	return max(room, 0), room < math.MaxInt64/2
}

// checkSpace checks the free space on the disk.
func (l *Log) checkSpace() {
	room := int64(math.MaxInt64)
	if l.reserve >= 0 {
		if free, err := l.fs.Free(filepath.Dir(l.path)); err == nil { // if it is unknown, there is no limit
			room = int64(min(free, math.MaxInt64/4)) - l.reserve
		}
	}
	before := l.room.Swap(room)
	if room <= 0 {
		l.set(diskFull, fmt.Errorf("%w: less than %d MiB are free on its disk", ErrUnavailable, l.reserve>>20))
		return
	}
	l.clear(diskFull)
	if room < lowRoom && (before == 0 || before >= lowRoom) {
		l.logger.Warn("audit log has little space", "path", l.path, "bytes", room)
	}
}

// discards reports whether the log is a stream that discards its input.
func (l *Log) discards() bool {
	info, err := l.file.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// maxSync limits the duration of a sync. After that, the log counts as hanging
// until the sync ends.
const maxSync = 10 * time.Second

var errSyncHanging = fmt.Errorf("%w: a sync has been blocked for %v", ErrUnavailable, maxSync)

// flush runs sync, but waits for it no longer than maxSync.
func (l *Log) flush(sync func() (fs.FileInfo, error)) (info fs.FileInfo, err error) {
	if err := l.troubles[syncHanging].get(); err != nil {
		return nil, err // the previous sync has not ended
	}
	type result struct {
		info fs.FileInfo
		err  error
	}
	done := make(chan result, 1)
	go func() {
		info, err := sync()
		done <- result{info, err}
	}()
	timer := time.NewTimer(maxSync)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.info, r.err
	case <-timer.C:
		err := l.set(syncHanging, errSyncHanging)
		go func() {
			<-done
			l.clear(syncHanging)
		}()
		return nil, err
	}
}
