package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Rotate starts a new file. If the file at path was moved away, as logrotate
// does before it sends SIGHUP, Rotate creates a new one at path; otherwise, it
// first renames the file to path, "-" and the time in UTC. A file without
// lines is not rotated. Numbers and hashes continue across files. If the
// process is killed at any moment, no line is lost or duplicated.
//
// If the new file cannot be created, the log continues in the old one,
// wherever that is now, and tries again when it has grown by a sixteenth of
// MaxBytes.
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

// rotateBySize rotates the log or, if that fails, postpones the next attempt.
func (l *Log) rotateBySize() {
	if err := l.rotate(); err != nil {
		l.rotateAt = l.size + max(1, l.max/16)
		l.logger.Warn("audit log cannot be rotated; continuing in the same file", "path", l.path, "error", err)
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

// leave continues in a new file at path. Sync syncs the directory later: until
// then, no line in the new file is promised to be durable. If a crash loses
// the new name, the old file is found under one of its names.
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
	old.close() // synced or given up, so nothing can get lost
	return nil
}

// create opens an empty file at path, which may already exist if something
// else moved the log away.
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
		err = fmt.Errorf("%s is a different file, and not empty", l.path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// rotatedName returns an unused name.
func (l *Log) rotatedName() string {
	for now := l.now().UTC(); ; now = now.Add(time.Nanosecond) {
		name := l.path + now.Format("-20060102T150405.000000000Z")
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
}
