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

// The reasons why the log can't be written. Each comes and goes by itself.
const (
	failing     = iota // a write or a sync failed
	hanging            // a turn does not end
	syncHanging        // a sync does not end
	diskFull           // only the reserve is left
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
// wraps ErrUnavailable. After a failed write the log does not try again by
// itself: the next Append or Sync does. So a caller that refuses to act because
// of Err should append the record of that refusal, which is also what finds the
// disk mended.
func (l *Log) Err() error {
	for i := range l.troubles {
		if err := l.troubles[i].get(); err != nil {
			return err
		}
	}
	return nil
}

// Hanging reports whether the system does not return from work on the file. One
// caller of Append may wait for it.
func (l *Log) Hanging() bool {
	return l.troubles[hanging].get() != nil || l.troubles[syncHanging].get() != nil
}

// fail notes that the log can't be written, and returns what callers get.
func (l *Log) fail(cause error) error {
	return l.set(failing, fmt.Errorf("%w: %w", ErrUnavailable, cause))
}

func (l *Log) set(kind int, err error) error {
	if l.troubles[kind].swap(&err) == nil {
		l.logger.Error("audit log can't be written", "path", l.path, "error", err)
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

// Warnings returns what is wrong with the log although it can be written.
func (l *Log) Warnings() []string {
	l.warnings.Lock()
	all := slices.Clone(l.warnings.texts)
	l.warnings.Unlock()
	if room := l.room.Load(); room < lowRoom && l.Err() == nil {
		all = append(all, fmt.Sprintf("the audit log has room for %d MiB", room>>20))
	}
	return all
}

// warn logs a message with its attributes, and keeps a text for Warnings.
func (l *Log) warn(text, message string, attrs ...any) {
	l.warnings.Lock()
	if !slices.Contains(l.warnings.texts, text) {
		l.warnings.texts = append(l.warnings.texts, text)
	}
	l.warnings.Unlock()
	l.logger.Warn(message, append([]any{"path", l.path}, attrs...)...)
}

// lowRoom is what is left of the disk when the log warns.
const lowRoom = 256 << 20

// Room returns how many bytes can be written before only the reserve is left on
// the disk. ok is false when that isn't known.
func (l *Log) Room() (bytes int64, ok bool) {
	room := l.room.Load()
	return max(room, 0), room < math.MaxInt64/2
}

// checkSpace looks at how much space is left on the disk.
func (l *Log) checkSpace() {
	room := int64(math.MaxInt64)
	if l.reserve >= 0 {
		if free, err := l.fs.Free(filepath.Dir(l.path)); err == nil { // a file system that can't tell has no limit
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

// discards reports whether what is written to a stream goes nowhere.
func (l *Log) discards() bool {
	info, err := l.file.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// maxSync is how long a sync may take. Then the log counts as hanging until it
// ends.
const maxSync = 10 * time.Second

var errSyncHanging = fmt.Errorf("%w: a sync has not ended for %v", ErrUnavailable, maxSync)

// flush runs sync, but does not wait for it longer than maxSync.
func (l *Log) flush(sync func() (fs.FileInfo, error)) (info fs.FileInfo, err error) {
	if err := l.troubles[syncHanging].get(); err != nil {
		return nil, err // the one before has not ended
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
