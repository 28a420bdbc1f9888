package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Sync makes everything appended before the call durable, and returns the
// checkpoint of the last of those lines. Other appends can proceed at the same
// time. If nothing was appended since the last call, it writes nothing to the
// disk.
//
// After an error, records appended since the last checkpoint may be lost, and
// the next Append or Sync tries to repair that. If that is impossible, or if
// the file was removed or truncated while in use, the log continues in a new
// file, this one call returns a *DamageError, and [Verify] shows the gap.
//
// A stream cannot be synced; Sync then only returns the checkpoint.
func (l *Log) Sync() (Checkpoint, error) {
	var file *handle
	var head Checkpoint
	var size int64
	var renamed int
	var idle, clean bool
	err := l.exclusive(func() error {
		if err := l.ready(); err != nil {
			return err
		}
		file, head, size, renamed = l.file, l.head, l.size, l.renamed
		clean = renamed == l.dirSynced
		idle = head == l.synced && clean
		return nil
	})
	if err != nil {
		return Checkpoint{}, err
	}
	if l.stream() {
		return head, nil
	}
	info, err := l.flush(func() (info fs.FileInfo, err error) {
		if idle {
			return file.stat()
		}
		if info, err = file.sync(); err == nil && !clean {
			err = l.syncDir()
		}
		return info, err
	})
	if errors.Is(err, errSyncHanging) {
		return Checkpoint{}, err
	}
	failed := err
	err = l.exclusive(func() error {
		if err := failed; err != nil {
			return l.fail(fmt.Errorf("sync: %w", err))
		}
		l.dirSynced = max(l.dirSynced, renamed)
		if l.file != file {
			return nil // already synced by a rotation
		}
		if err := l.inspect(info, size); err != nil {
			return err
		}
		if size > l.syncedSize {
			l.synced, l.syncedSize = head, size
		}
		return nil
	})
	if err != nil {
		return Checkpoint{}, err
	}
	return head, nil
}

// Settle is Sync for a caller that stores pending records: it also returns the
// IDs of those that the checkpoint covers and that no earlier call returned.
// The caller must delete them and store the checkpoint in one transaction; if
// that fails, it must delete them together with those of the next call. Then
// everything still pending is either after the stored checkpoint or not in the
// log at all, as [Log.Recover] requires. A checkpoint from Sync does not
// guarantee that.
//
// Settle does not return pending records that may have been lost with a file.
// The caller still has them, and the next start adds them to the log.
func (l *Log) Settle() (Checkpoint, []ID, error) {
	l.settle.Lock()
	defer l.settle.Unlock()
	at, err := l.Sync()
	if err != nil {
		return Checkpoint{}, nil, err
	}
	var ids []ID
	err = l.exclusive(func() error {
		for _, p := range l.unsettled {
			if p.seq > at.Seq {
				break
			}
			ids = append(ids, p.id)
		}
		l.unsettled = slices.Delete(l.unsettled, 0, len(ids))
		return nil
	})
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return at, ids, nil
}

// inspect looks for signs that something else changed the file, which must
// have at least size bytes.
func (l *Log) inspect(info fs.FileInfo, size int64) error {
	switch {
	case info == nil: // the file was closed
		return nil
	case removed(info):
		return l.setAside(errors.New("the file was removed while it was written"))
	case info.Size() < size:
		return l.setAside(fmt.Errorf("the file was truncated from %d to %d bytes while it was written", size, info.Size()))
	}
	return nil
}

// setAside continues in a new file because this one is beyond repair.
func (l *Log) setAside(why error) error {
	err := &DamageError{File: l.path, Err: why}
	l.unsettled = nil
	l.warn(fmt.Sprintf("lines of the audit log up to %d are lost: %v", l.head.Seq, why),
		"audit log is damaged; continuing in a new file", "last", l.head.Seq, "error", why)
	if leaveErr := l.leave(); leaveErr != nil {
		return l.fail(errors.Join(err, leaveErr))
	}
	return err
}

// redo repairs a failed sync: it writes the same bytes again, since the system
// may have forgotten that they never reached the disk, and syncs.
func (l *Log) redo() error {
	if !l.file.failed.Load() {
		return nil
	}
	if err := l.reread(); err != nil {
		return l.setAside(fmt.Errorf("the lines after %d were lost in a failed sync: %w", l.synced.Seq, err))
	}
	if err := l.rewrite(); err != nil {
		return fmt.Errorf("repeat a failed sync: %w", err)
	}
	if err := l.file.Datasync(); err != nil {
		return fmt.Errorf("repeat a failed sync: %w", err)
	}
	l.file.failed.Store(false)
	l.synced, l.syncedSize = l.head, l.size
	l.clear(failing)
	return nil
}

// reread checks that the file still has the bytes written since the last sync.
func (l *Log) reread() error {
	c := chain{head: l.synced, started: l.synced.Seq > 0}
	if err := c.followAll(newLines(io.NewSectionReader(l.file, l.syncedSize, l.size-l.syncedSize))); err != nil {
		return err
	}
	if c.head != l.head {
		return fmt.Errorf("it ends at line %d instead of %d", c.head.Seq, l.head.Seq)
	}
	return nil
}

// rewrite overwrites the bytes written since the last sync with themselves.
func (l *Log) rewrite() error {
	// The open file can only append.
	f, err := l.fs.Open(l.path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	there, err := f.Stat()
	if err != nil {
		return err
	}
	here, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(there, here) {
		return errors.New("the file was moved away")
	}
	buf := make([]byte, min(maxBatch, l.size-l.syncedSize))
	for off := l.syncedSize; off < l.size; {
		b := buf[:min(int64(len(buf)), l.size-off)]
		if _, err := l.file.ReadAt(b, off); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}
