package audit

import (
	"bytes"
	"io"
)

// maxBatch limits the bytes of one write, so that a burst of long records
// cannot use unbounded memory.
const maxBatch = 1 << 20

// Append adds a record, as made by [Record.Append], to the end of the log.
// When it returns nil, the line has been written to the file: Tail and Verify
// see it, and it survives the end of this process, but it survives a power
// failure only after [Log.Sync]. When Append returns an error, the record is
// not in the log and can be appended again, with two exceptions. First, the
// process may end before the log can remove what a failed write left behind,
// which is why [Log.Recover] looks for IDs. Second, a write that took too long
// may still succeed.
//
// An error that wraps ErrUnavailable means that the file cannot be written.
// Append does not retain body.
func (l *Log) Append(body []byte) error {
	if err := l.troubles[diskFull].get(); err != nil {
		return err
	}
	return l.append(body, false, false)
}

// AppendDetached is Append for a caller that must not wait for a file that
// hangs. Append may have to: it writes in its caller's goroutine if the turn
// is free.
func (l *Log) AppendDetached(body []byte) error {
	if err := l.troubles[diskFull].get(); err != nil {
		return err
	}
	return l.append(body, false, true)
}

// AppendPending is AppendDetached for a record that the caller also stores
// elsewhere until [Log.Settle] returns its ID. After an error, the caller can
// append it again in the same way; the log then contains it once, whatever
// became of the first attempt. It may use the reserved disk space.
func (l *Log) AppendPending(body []byte) error { return l.append(body, true, true) }

func (l *Log) append(body []byte, pending, leave bool) error {
	id, err := checkBody(body)
	if err != nil {
		return err
	}
	r := l.pool.Get().(*request)
	r.body, r.id, r.pending, r.leave = body, id, pending, leave
	err = l.wait(r)
	r.body, r.err, r.next = nil, nil, nil
	l.pool.Put(r)
	return err
}

// write chains and writes the records of a batch: all of them or none.
func (l *Log) write(batch *request, turn uint64) error {
	buf, head := l.buf[:0], l.head
	pending := l.pending
	for r := batch; r != nil; r = r.next {
		if r.pending {
			if l.late[r.id] {
				delete(l.late, r.id) // its first attempt has succeeded since
				continue
			}
			pending = append(pending, settling{r.id, head.Seq + 1})
		}
		buf, head = appendLine(buf, head, r.body)
	}
	l.queue.copied.Store(turn) // from here on, the requests can be abandoned
	if l.buf, l.pending = buf, pending; cap(buf) > 4*maxBatch {
		l.buf = nil
	}
	if len(buf) == 0 {
		return nil
	}
	if err := l.commit(buf, head); err != nil {
		return err
	}
	l.unsettled = append(l.unsettled, pending...)
	return nil
}

// ready prepares the file for the next line, and repairs what an earlier
// failure left behind.
func (l *Log) ready() error {
	if l.closed {
		return ErrClosed
	}
	if !l.half && !l.file.failed.Load() {
		return nil
	}
	if err := l.repair(); err != nil {
		return l.fail(err)
	}
	return nil
}

// repair removes what a failed write left, and repeats a failed sync.
func (l *Log) repair() error {
	if err := l.cut(); err != nil {
		return err
	}
	return l.redo()
}

// commit writes whole lines, the last of which is head.
func (l *Log) commit(lines []byte, head Checkpoint) error {
	if !l.stream() && l.max > 0 && l.size > 0 && l.size+int64(len(lines)) > l.rotateAt {
		l.rotateBySize()
		if l.file.failed.Load() {
			return l.fail(errSyncFailed) // the next call repairs it
		}
	}
	if l.stream() && l.half {
		// The remains of a failed write can't be removed: end their line.
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := l.file.Write(lines)
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	if err != nil {
		if l.stream() {
			l.half = n > 0 && !bytes.HasSuffix(lines[:n], []byte{'\n'})
			return l.fail(err)
		}
		l.half = true
		if cutErr := l.cut(); cutErr != nil {
			l.logger.Error("audit log ends with a partial line", "path", l.path, "error", cutErr)
		}
		return l.fail(err)
	}
	l.head = head
	if l.stream() {
		l.half = false
	} else {
		l.size += int64(len(lines))
	}
	if !l.file.failed.Load() {
		l.clear(failing)
	}
	if l.unlooked += int64(len(lines)); l.unlooked > l.room.Load() {
		l.unlooked = 0
		l.checkSpace()
	}
	return nil
}

// cut removes what a failed write left after the last whole line. Nothing is
// written until that has succeeded.
func (l *Log) cut() error {
	if !l.half || l.stream() {
		return nil
	}
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > l.size {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
	}
	l.half = false
	return nil
}
