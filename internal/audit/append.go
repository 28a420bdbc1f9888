package audit

import (
	"bytes"
	"io"
)

// maxBatch bounds the bytes of one write, so that a rush of long records does
// not take memory without limit.
const maxBatch = 1 << 20

// Append adds a record, as made by [Record.Append], to the end of the log. When
// it returns nil, the line is written to the file: it survives the end of this
// process and shows in Tail and Verify, but survives a loss of power only after
// [Log.Sync]. When it returns an error, the record is not in the log and can be
// appended again, with two exceptions. A process may end before the log could
// cut away what a failed write had left, which is why [Log.Recover] looks for
// IDs. And a write that took too long may still succeed.
//
// An error that wraps ErrUnavailable says that the file can't be written. body
// is not kept.
func (l *Log) Append(body []byte) error {
	if err := l.troubles[diskFull].get(); err != nil {
		return err
	}
	return l.append(body, false, false)
}

// AppendDetached is Append for a caller that must not wait for a file that
// hangs. An Append may: it writes by itself when nobody else does.
func (l *Log) AppendDetached(body []byte) error {
	if err := l.troubles[diskFull].get(); err != nil {
		return err
	}
	return l.append(body, false, true)
}

// AppendPending is AppendDetached for a record that the caller also keeps
// elsewhere until [Log.Settle] names it. One that failed is tried again in the
// same way; the log then holds it once, whatever became of the first try. It may
// use the space that is kept in reserve.
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

// write chains and writes the requests' records: all of them or none.
func (l *Log) write(batch *request, turn uint64) error {
	buf, head := l.buf[:0], l.head
	pending := l.pending
	for r := batch; r != nil; r = r.next {
		if r.pending {
			if l.late[r.id] {
				delete(l.late, r.id) // its first try has succeeded since
				continue
			}
			pending = append(pending, settling{r.id, head.Seq + 1})
		}
		buf, head = appendLine(buf, head, r.body)
	}
	l.queue.copied.Store(turn) // from here on they may be abandoned
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

// ready readies the file for the next line, and mends what an earlier failure
// left behind.
func (l *Log) ready() error {
	if l.closed {
		return ErrClosed
	}
	if !l.half && !l.file.failed.Load() {
		return nil
	}
	if err := l.mend(); err != nil {
		return l.fail(err)
	}
	return nil
}

// mend cuts what a failed write left, and repeats what a failed sync lost.
func (l *Log) mend() error {
	if err := l.cut(); err != nil {
		return err
	}
	return l.redo()
}

// commit writes whole lines of which head is the last.
func (l *Log) commit(lines []byte, head Checkpoint) error {
	if !l.stream() && l.max > 0 && l.size > 0 && l.size+int64(len(lines)) > l.rotateAt {
		l.rotateBySize()
		if l.file.failed.Load() {
			return l.fail(errSyncFailed) // the next call mends it
		}
	}
	if l.stream() && l.half {
		// What a failed write left can't be cut: it gets a line of its own.
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
			l.logger.Error("audit log ends in half a line", "path", l.path, "error", cutErr)
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

// cut removes what a failed write left behind the last whole line. Until that
// is done nothing is written.
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
