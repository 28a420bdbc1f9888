package audit

import (
	"bytes"
	"fmt"
	"io"
)

// Recover completes the log after a start: it appends the pending records
// whose ID is not in the log after the checkpoint, and returns their number.
// since is the checkpoint stored for [Log.Settle], or zero if there is none
// yet; the next Settle returns all records pending here. pending calls yield
// with each record; yield does not retain the body. Recover holds all of them
// in memory.
//
// It verifies the lines after the checkpoint. If the log does not contain the
// checkpoint's line, the error wraps ErrCheckpoint: durable lines have been
// lost. To continue anyway, move the remaining files away: a log without any
// lines continues from the checkpoint, and the line numbers show what is
// missing.
//
// A stream cannot be read back, so all pending records are appended to it.
func (l *Log) Recover(since Checkpoint, pending func(yield func(id ID, body []byte) error) error) (appended int, err error) {
	missing, err := collect(pending)
	if err != nil {
		return 0, err
	}
	read := func() (err error) {
		appended, err = l.recover(since, missing)
		return err
	}
	err = l.wait(&request{task: read, leave: true, slow: true, wake: make(chan bool, 1)})
	return appended, err
}

func (l *Log) recover(since Checkpoint, missing *pendingRecords) (appended int, err error) {
	if err := l.ready(); err != nil {
		return 0, err
	}
	switch {
	case l.stream():
	case l.head.Seq == 0 && since.Seq > 0:
		l.warn(fmt.Sprintf("the audit log was missing or empty at start: lines up to %d are missing", since.Seq),
			"audit log is empty; continuing after the checkpoint without the lines before it", "checkpoint", since.Seq)
		l.head, l.synced = since, since
	case l.head == since: // nothing was written after the checkpoint
	case since.Seq > 0 || len(missing.bodies) > 0:
		if err := l.scan(since, missing.drop); err != nil {
			return 0, err
		}
	}
	if appended, err = l.appendAll(missing.bodies); err == nil {
		for _, id := range missing.ids {
			l.unsettled = append(l.unsettled, settling{id, l.head.Seq})
		}
	}
	return appended, err
}

// appendAll appends the bodies in order, skipping nil.
func (l *Log) appendAll(bodies [][]byte) (appended int, err error) {
	var buf []byte
	head, n := l.head, 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		if err := l.commit(buf, head); err != nil {
			return err
		}
		appended += n
		buf, n = buf[:0], 0
		return nil
	}
	for _, body := range bodies {
		if body == nil {
			continue
		}
		buf, head = appendLine(buf, head, body)
		n++
		if len(buf) >= maxBatch {
			if err := flush(); err != nil {
				return appended, err
			}
		}
	}
	return appended, flush()
}

// pendingRecords are records that may be missing from the log, in order.
type pendingRecords struct {
	ids    []ID
	bodies [][]byte // nil if found in the log
	index  map[ID]int
}

func collect(pending func(yield func(id ID, body []byte) error) error) (*pendingRecords, error) {
	p := &pendingRecords{index: make(map[ID]int)}
	err := pending(func(id ID, body []byte) error {
		inside, err := checkBody(body)
		if err != nil {
			return err
		}
		if inside != id {
			return fmt.Errorf("audit: pending record %v contains record %v", id, inside)
		}
		if _, twice := p.index[id]; !twice {
			p.index[id] = len(p.bodies)
			p.ids = append(p.ids, id)
			p.bodies = append(p.bodies, bytes.Clone(body))
		}
		return nil
	})
	return p, err
}

func (p *pendingRecords) drop(id ID) {
	if i, ok := p.index[id]; ok {
		p.bodies[i] = nil
	}
}

// scan verifies the log from the checkpoint to the end and calls found with
// the ID of each line after the checkpoint.
func (l *Log) scan(since Checkpoint, found func(ID)) error {
	if since.Seq > l.head.Seq {
		return fmt.Errorf("%w: it ends at line %d, before the checkpoint's line %d", ErrCheckpoint, l.head.Seq, since.Seq)
	}
	segs, err := openSegments(l.path)
	if err != nil {
		return err
	}
	defer closeSegments(segs)

	// Older files may have been damaged, compressed or removed. Verify reports
	// that; it must not keep the log from continuing.
	begin := -1
	for i, s := range segs {
		if s.first > 0 && (begin < 0 || s.first <= since.Seq) {
			begin = i
		}
	}
	if begin < 0 {
		return &DamageError{l.path, 0, errNotLine}
	}
	sc := scanner{since: since, due: since.Seq > 0, found: found}
	switch first := segs[begin].first; {
	case since.Seq == 0 || first <= since.Seq:
	case first == since.Seq+1:
		sc.chain, sc.due = chain{head: since, started: true}, false
	default:
		sc.due = false
		l.logger.Warn("audit log starts after the checkpoint; removed files may have contained pending records",
			"path", l.path, "checkpoint", since.Seq, "first", first)
	}
	for i, s := range segs[begin:] {
		if s.first == 0 {
			continue
		}
		var ls *lines
		if i == 0 {
			ls, err = s.linesNear(since.Seq)
		} else {
			ls, err = s.lines()
		}
		if err != nil {
			return err
		}
		if err := sc.lines(s.name, ls); err != nil {
			return err
		}
	}
	if sc.chain.head != l.head {
		return &DamageError{l.path, 0, fmt.Errorf("the files end at line %d of the log instead of %d", sc.chain.head.Seq, l.head.Seq)}
	}
	return nil
}

// scanner verifies lines and reports the IDs of those after the checkpoint.
type scanner struct {
	chain chain
	since Checkpoint
	due   bool // the checkpoint's line must follow
	found func(ID)
}

func (sc *scanner) lines(name string, ls *lines) error {
	for {
		line, err := ls.next()
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return &DamageError{name, ls.n + 1, err}
		}
		if err := sc.line(line); err != nil {
			return &DamageError{name, ls.n, err}
		}
	}
}

func (sc *scanner) line(line []byte) error {
	if sc.due {
		if seq, _, ok := parseSeq(line); ok && seq < sc.since.Seq {
			return nil // shortly before the checkpoint
		}
	}
	h, err := sc.chain.follow(line)
	switch {
	case err != nil:
		return err
	case !sc.due:
		sc.found(h.id)
	case h.seq > sc.since.Seq:
		return fmt.Errorf("%w: line %d is missing before line %d", ErrCheckpoint, sc.since.Seq, h.seq)
	case sc.chain.head != sc.since:
		return fmt.Errorf("%w: line %d has the hash %v instead of %v", ErrCheckpoint, h.seq, sc.chain.head.Hash, sc.since.Hash)
	}
	sc.due = false
	return nil
}
