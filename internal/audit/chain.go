package audit

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// DamageError says that a log is not what was written, and where.
type DamageError struct {
	File string
	Line int // counted from 1 in this file; 0 when it is about the whole file
	Err  error
}

func (e *DamageError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("audit: %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("audit: %s: line %d: %v", e.File, e.Line, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// chain checks that each line follows from the one before.
type chain struct {
	head    Checkpoint // the last line seen
	started bool       // there was one
}

// follow takes the next line, with its newline.
func (c *chain) follow(line []byte) (header, error) {
	h, err := parseHeader(line[:len(line)-1])
	switch {
	case err != nil:
		return h, err
	case !c.started && h.seq == 1 && h.prev != Hash{}:
		return h, errors.New("this is line 1 of the log, and yet names a line before it: it was changed")
	case !c.started:
	case h.seq > c.head.Seq+1:
		return h, fmt.Errorf("after line %d of the log comes %d: what stood between was removed or moved", c.head.Seq, h.seq)
	case h.seq <= c.head.Seq:
		return h, fmt.Errorf("after line %d of the log comes %d: it was put in or moved", c.head.Seq, h.seq)
	case h.prev != c.head.Hash:
		return h, fmt.Errorf("line %d of the log does not carry the hash of line %d: one of the two was changed", h.seq, c.head.Seq)
	}
	c.head = Checkpoint{Seq: h.seq, Hash: sha256.Sum256(line)}
	c.started = true
	return h, nil
}

// followAll takes all lines, of which the last must have its newline.
func (c *chain) followAll(ls *lines) error {
	for {
		line, err := ls.next()
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err == nil {
			_, err = c.follow(line)
		}
		if err != nil {
			return err
		}
	}
}

// lines reads a file line by line.
type lines struct {
	r    *bufio.Reader
	long []byte // holds a line that is longer than r's buffer
	n    int    // counts the lines that were read
}

func newLines(r io.Reader) *lines { return newLinesSize(r, 128<<10) }

func newLinesSize(r io.Reader, size int) *lines { return &lines{r: bufio.NewReaderSize(r, size)} }

var errLineTooLong = fmt.Errorf("this line has more than %d bytes", maxLine)

// next returns the next line with its newline. At the end it returns io.EOF, and
// with it the rest that has no newline. The bytes are good until the next call.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		l.long = l.long[:0]
		for err == bufio.ErrBufferFull {
			if l.long = append(l.long, line...); len(l.long) > maxLine {
				return nil, errLineTooLong
			}
			line, err = l.r.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	if err == nil {
		l.n++
	}
	return line, err
}
