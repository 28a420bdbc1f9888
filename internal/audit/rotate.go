package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Rotate begins a new file. When the file at path was moved away, as logrotate
// does before it sends SIGHUP, a new one is opened at path; otherwise the file
// is renamed to path, "-" and the time in UTC. A file without a line is kept.
// Numbers and hashes continue from file to file. A process that is killed at any
// moment of it loses no line and doubles none.
//
// When the new file can't be made, the log goes on in the old one, wherever that
// is now, and tries again when that has grown by a sixteenth of the largest
// size.
//
// A stream is not rotated.
func (l *Log) Rotate() error {
	return l.exclusive(func() error {
		if err := l.ready(); err != nil || l.stream() {
			return err
		}
		return l.rotate()
	})
}

// rotateBySize rotates, or else puts the next try off.
func (l *Log) rotateBySize() {
	if err := l.rotate(); err != nil {
		l.rotateAt = l.size + max(1, l.max/16)
		l.logger.Warn("audit log can't be rotated and goes on in the same file", "path", l.path, "error", err)
	}
}

func (l *Log) rotate() error {
	if _, err := l.file.sync(); err != nil {
		return l.fail(fmt.Errorf("sync: %w", err))
	}
	if err := l.leave(); err != nil {
		return fmt.Errorf("audit: rotate log: %w", err)
	}
	return nil
}

// leave goes on in a new file at path. The directory is synced later, by Sync:
// until then no line in the new file is promised to be durable, and if it gets
// lost with its name, the old file is found under either of its names.
func (l *Log) leave() error {
	here, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := l.fs.Stat(l.path)
	switch {
	case err == nil && os.SameFile(here, there):
		if l.size == 0 {
			return nil
		}
		to := l.rotatedName()
		l.renamed++
		if err := l.fs.Rename(l.path, to); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	l.renamed++
	next, err := l.create()
	if err != nil {
		return err
	}
	old := l.file
	l.file = &handle{File: next}
	l.size, l.synced, l.syncedSize, l.rotateAt = 0, l.head, 0, l.max
	l.half = false
	old.close() // synced or given up: there is nothing that it could lose
	return nil
}

// create opens an empty file at path. Whoever moved the log away may have made it.
func (l *Log) create() (File, error) {
	f, err := l.fs.Open(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := f.Lock(); err != nil {
		f.Close()
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = fmt.Errorf("%s is another file, and not empty", l.path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// rotatedName returns a name that no file has.
func (l *Log) rotatedName() string {
	for now := l.now().UTC(); ; now = now.Add(time.Nanosecond) {
		name := l.path + now.Format("-20060102T150405.000000000Z")
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
}
