package audit

import (
	"bytes"
	"io"
	"runtime"
)

// maxBatch bounds the bytes of one write, so that a rush of long records does
// not take memory without limit.
const maxBatch = 1 << 20

// request is one caller of Append. The callers that find a writer at work queue
// up; when it is done, the first of them becomes the writer and writes what all
// of them brought. So one write serves many callers, and a lone caller waits for
// nobody and wakes nobody.
type request struct {
	body    []byte
	id      ID
	pending bool
	err     error
	next    *request
	wake    chan bool // true: be the writer; false: err says how it went
}

// Append adds a record, as made by [Record.Append], to the end of the log. When
// it returns nil, the line is written to the file: it survives the end of this
// process and shows in Tail and Verify, but survives a loss of power only after
// [Log.Sync]. When it returns an error, the record is not in the log and can be
// appended again; the exception is a process that ends before the log could cut
// away what a failed write had left, which is why [Log.Recover] looks for IDs.
//
// An error that wraps ErrUnavailable says that the file can't be written. body
// is not kept.
func (l *Log) Append(body []byte) error { return l.append(body, false) }

// AppendPending is Append for a record that the caller also keeps elsewhere
// until [Log.Settle] names it. One that failed is tried again in the same way.
func (l *Log) AppendPending(body []byte) error { return l.append(body, true) }

func (l *Log) append(body []byte, pending bool) error {
	id, err := checkBody(body)
	if err != nil {
		return err
	}
	r := l.pool.Get().(*request)
	r.body, r.id, r.pending = body, id, pending
	if l.enqueue(r) {
		// Others that are about to append get to do so, and are served by the
		// same write. A lone caller has nobody to let pass.
		runtime.Gosched()
		l.lead(r)
	} else if <-r.wake {
		l.lead(r)
	}
	err = r.err
	r.body, r.err, r.next = nil, nil, nil
	l.pool.Put(r)
	return err
}

// enqueue reports whether r has to be the writer.
func (l *Log) enqueue(r *request) bool {
	q := &l.queue
	q.Lock()
	defer q.Unlock()
	if q.first == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
	lead := !q.writing
	q.writing = true
	return lead
}

// dequeue takes the first requests, as many as fit into one write.
func (l *Log) dequeue() *request {
	q := &l.queue
	q.Lock()
	defer q.Unlock()
	first, last := q.first, q.first
	for size := len(first.body); last.next != nil; last = last.next {
		if size += len(last.next.body); size > maxBatch {
			break
		}
	}
	q.first, last.next = last.next, nil
	return first
}

// handOver makes the first in the queue the writer, if there is one.
func (l *Log) handOver() {
	q := &l.queue
	q.Lock()
	defer q.Unlock()
	if q.first == nil {
		q.writing = false
		return
	}
	q.first.wake <- true // has room: a request is woken once
}

// lead writes what is queued, of which r is the first, and tells the others.
func (l *Log) lead(r *request) {
	l.mu.Lock()
	batch := l.dequeue() // not before the lock: more may have come meanwhile
	err := l.write(batch)
	l.mu.Unlock()
	l.handOver()
	for q := batch.next; q != nil; {
		next := q.next // q belongs to its caller once it is woken
		q.err = err
		q.wake <- false
		q = next
	}
	r.err = err
}

// write chains and writes the requests' records: all of them or none.
func (l *Log) write(batch *request) error {
	if err := l.ready(); err != nil {
		return err
	}
	buf, head := l.buf[:0], l.head
	for r := batch; r != nil; r = r.next {
		buf, head = appendLine(buf, head, r.body)
	}
	if l.buf = buf; cap(buf) > 4*maxBatch {
		l.buf = nil
	}
	if err := l.commit(buf, head); err != nil {
		return err
	}
	for r := batch; r != nil; r = r.next {
		if r.pending {
			l.unsettled = append(l.unsettled, settling{r.id, head.Seq})
		}
	}
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
	n := 0
	err := around(l.hook, BeforeWrite, func() (err error) {
		if n, err = l.file.Write(lines); err == nil && n < len(lines) {
			err = io.ErrShortWrite
		}
		return err
	})
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
	l.size += int64(len(lines))
	if l.stream() {
		l.half = false
	}
	if !l.file.failed.Load() {
		l.recovered()
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
		err := around(l.hook, BeforeCut, func() error { return l.file.Truncate(l.size) })
		if err != nil {
			return err
		}
	}
	l.half = false
	return nil
}
