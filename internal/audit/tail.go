package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// pollInterval is how often Tail looks for new lines. File notifications would
// need code for each system, and do not work on network file systems.
const pollInterval = 200 * time.Millisecond

// Tail calls emit with each of the last n lines of the log at path, oldest
// first and without newlines, reading rotated files if needed. A negative n
// means all lines. With follow, it then waits for new lines, including those
// in new files, until ctx ends or emit returns an error. It does not verify
// what it reads. The bytes are valid until emit returns.
func Tail(ctx context.Context, path string, n int, follow bool, emit func(line []byte) error) error {
	t := tailer{path: path, emit: emit}
	defer t.close()
	if err := t.begin(ctx, n); err != nil {
		return err
	}
	if !follow {
		return nil
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if err := t.poll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

type tailer struct {
	path string
	emit func(line []byte) error

	seg  *segment // the file being read; nil before the first
	off  int64    // offset of the next line in seg
	last uint64   // the number of the last line read
}

func (t *tailer) close() {
	if t.seg != nil {
		t.seg.file.Close()
	}
}

// begin emits the last n lines and keeps the newest file open.
func (t *tailer) begin(ctx context.Context, n int) error {
	segs, err := t.segments()
	if err != nil {
		return err
	}
	if len(segs) == 0 {
		if _, err := os.Stat(t.path); err != nil {
			return fmt.Errorf("audit: read log: %w", err)
		}
		return nil
	}
	from := uint64(0)
	if n >= 0 {
		last, err := lastSeq(segs[len(segs)-1])
		if err != nil {
			closeSegments(segs)
			return err
		}
		from = last + 1 - min(last, uint64(n))
	}
	return t.read(ctx, segs, from)
}

// poll emits new lines.
func (t *tailer) poll(ctx context.Context) error {
	if t.seg != nil {
		if err := t.drain(ctx, 0); err != nil {
			return err
		}
		if info, err := os.Stat(t.path); err == nil && os.SameFile(info, t.seg.info) {
			return nil
		}
	}
	segs, err := t.segments()
	if err != nil {
		return err
	}
	if t.seg != nil && len(segs) > 0 && segs[len(segs)-1].first <= t.last {
		closeSegments(segs) // no lines in later files
		return nil
	}
	if t.seg != nil {
		// Another line may have been added before the log moved to the next
		// file.
		if err := t.drain(ctx, 0); err != nil {
			closeSegments(segs)
			return err
		}
	}
	return t.read(ctx, segs, t.last+1)
}

// segments opens the files that have lines.
func (t *tailer) segments() ([]*segment, error) {
	segs, err := openSegments(t.path)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(segs) && segs[n].first > 0 {
		n++
	}
	closeSegments(segs[n:])
	return segs[:n], nil
}

// read emits the lines starting at number from. It keeps the last file open
// and closes the others.
func (t *tailer) read(ctx context.Context, segs []*segment, from uint64) error {
	for i, s := range segs {
		if i+1 < len(segs) && segs[i+1].first <= from {
			s.file.Close()
			continue
		}
		t.close()
		t.seg, t.off = s, 0
		err := t.seek(from)
		if err == nil {
			err = t.drain(ctx, from)
		}
		if err != nil {
			closeSegments(segs[i+1:])
			return err
		}
	}
	return nil
}

// seek moves to a line shortly before number from.
func (t *tailer) seek(from uint64) (err error) {
	if !t.seg.gzip && from > t.seg.first {
		t.off, _, err = t.seg.locate(from)
	}
	return err
}

// drain emits the lines of the file numbered from or higher.
func (t *tailer) drain(ctx context.Context, from uint64) error {
	var ls *lines
	var err error
	if t.seg.gzip {
		if t.off > 0 {
			return nil // a compressed file does not grow
		}
		ls, err = t.seg.lines()
	} else {
		err = t.stepBack()
		ls = newLines(t.seg.section(t.off))
	}
	if err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := ls.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &DamageError{File: t.seg.name, Err: err}
		}
		t.off += int64(len(line))
		if seq, _, ok := parseSeq(line); ok {
			t.last = seq
		}
		if t.last < from {
			continue
		}
		if err := t.emit(line[:len(line)-1]); err != nil {
			return err
		}
	}
}

// stepBack handles a file that became shorter: the log removed what a failed
// write had left.
func (t *tailer) stepBack() error {
	info, err := t.seg.file.Stat()
	if err != nil {
		return err
	}
	t.off = min(t.off, info.Size())
	return nil
}

// lastSeq returns the number of a file's last line.
func lastSeq(s *segment) (uint64, error) {
	if s.gzip {
		head, err := packedHead(s)
		return head.Seq, err
	}
	end, err := wholeEnd(s.file, s.info.Size())
	if err != nil {
		return 0, err
	}
	before, err := wholeEnd(s.file, end-1)
	if err != nil {
		return 0, err
	}
	text := make([]byte, min(end-before, int64(len(seqStart)+21)))
	if _, err := s.file.ReadAt(text, before); err != nil && err != io.EOF {
		return 0, err
	}
	seq, _, ok := parseSeq(text)
	if !ok {
		return 0, &DamageError{File: s.name, Err: errors.New("the last line is not a line of an audit log")}
	}
	return seq, nil
}
