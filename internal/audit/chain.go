package audit

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// DamageError says that a log was changed after it was written, and where.
type DamageError struct {
	File string
	Line int // counted from 1 in this file; 0 for the whole file
	Err  error
}

func (e *DamageError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("audit: %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("audit: %s: line %d: %v", e.File, e.Line, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// chain checks that each line follows from the previous one.
type chain struct {
	head    Checkpoint // the last line read
	started bool       // head is set
}

// follow checks the next line, including its newline.
func (c *chain) follow(line []byte) (header, error) {
	h, err := parseHeader(line[:len(line)-1])
	switch {
	case err != nil:
		return h, err
	case !c.started && h.seq == 1 && h.prev != Hash{}:
		return h, errors.New("line 1 of the log has the hash of a previous line: it was changed")
	case !c.started:
	case h.seq > c.head.Seq+1:
		return h, fmt.Errorf("line %d of the log is followed by line %d: the lines between were removed or moved", c.head.Seq, h.seq)
	case h.seq <= c.head.Seq:
		return h, fmt.Errorf("line %d of the log is followed by line %d: it was inserted or moved", c.head.Seq, h.seq)
	case h.prev != c.head.Hash:
		return h, fmt.Errorf("line %d of the log does not have the hash of line %d: one of the two was changed", h.seq, c.head.Seq)
	}
	c.head = Checkpoint{Seq: h.seq, Hash: sha256.Sum256(line)}
	c.started = true
	return h, nil
}

// followAll checks all lines. The last one must have a newline.
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
	long []byte // a line that is longer than r's buffer
	n    int    // number of lines read
}

func newLines(r io.Reader) *lines { return newLinesSize(r, 128<<10) }

func newLinesSize(r io.Reader, size int) *lines { return &lines{r: bufio.NewReaderSize(r, size)} }

var errLineTooLong = fmt.Errorf("this line is longer than %d bytes", maxLine)

// next returns the next line including its newline. At the end, it returns
// io.EOF and the rest without a newline, if any. The bytes are valid until the
// next call.
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
