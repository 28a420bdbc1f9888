package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// openStream opens something other than "-" or a regular file, such as a named
// pipe.
func (l *Log) openStream(path string) error {
	f, err := l.fs.Open(path, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	l.file = &handle{File: f}
	return nil
}

// openFile opens the file at l.path and continues the chain from its end.
func (l *Log) openFile() error {
	f, err := l.fs.Open(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	l.file = &handle{File: f}
	if err := l.resume(); err != nil {
		f.Close()
		return err
	}
	return nil
}

func (l *Log) resume() error {
	if err := l.file.Lock(); err != nil {
		return err
	}
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	// The previous holder of the lock may have rotated the log between Open
	// and Lock.
	if at, err := l.fs.Stat(l.path); err != nil || !os.SameFile(at, info) {
		return ErrLocked
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		l.logger.Warn("audit log is open to other users", "path", l.path, "mode", mode.String())
	}
	end, err := wholeEnd(l.file, info.Size())
	if err != nil {
		return err
	}
	if end > 0 {
		l.head, err = lastLine(l.file, l.path, end)
	} else {
		l.head, err = l.predecessor()
	}
	if err != nil {
		return err
	}
	if end < info.Size() {
		if err := l.trim(l.file, l.path, end, info.Size(), l.head); err != nil {
			return err
		}
	}
	if _, err := l.file.sync(); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.size, l.synced, l.syncedSize = end, l.head, end
	return nil
}

// predecessor returns the last line of the rotated files. That line can be
// incomplete too, if an operator's rotation moved the file being written and
// then came a crash.
func (l *Log) predecessor() (Checkpoint, error) {
	segs, err := openSegments(l.path)
	if err != nil {
		return Checkpoint{}, err
	}
	defer closeSegments(segs)
	var newest *segment
	for _, s := range segs {
		if s.err != nil {
			return Checkpoint{}, s.err
		}
		if s.first > 0 {
			newest = s
		}
	}
	var head Checkpoint
	if newest != nil {
		if head, err = l.predecessorHead(newest); err != nil {
			return Checkpoint{}, err
		}
	}
	for _, s := range segs {
		if s.first == 0 && s.name != l.path {
			if err := l.trimSegment(s, 0, head); err != nil {
				return Checkpoint{}, err
			}
		}
	}
	return head, nil
}

func (l *Log) predecessorHead(s *segment) (Checkpoint, error) {
	if s.gzip {
		return packedHead(s)
	}
	f := osFile{s.file}
	if err := f.Lock(); err != nil {
		return Checkpoint{}, err
	}
	end, err := wholeEnd(f, s.info.Size())
	if err != nil {
		return Checkpoint{}, err
	}
	head, err := lastLine(f, s.name, end)
	if err != nil {
		return Checkpoint{}, err
	}
	if end < s.info.Size() {
		return head, l.trimSegment(s, end, head)
	}
	return head, f.Datasync()
}

// packedHead reads a compressed file to its end.
func packedHead(s *segment) (Checkpoint, error) {
	ls, err := s.lines()
	if err != nil {
		return Checkpoint{}, err
	}
	var c chain
	if err := c.followAll(ls); err != nil {
		return Checkpoint{}, &DamageError{s.name, ls.n, err}
	}
	return c.head, nil
}

// lastLine returns the checkpoint of the line that ends at end. It reads more
// than that line, to detect holes that a crash left in the file.
func lastLine(f File, name string, end int64) (Checkpoint, error) {
	for window := int64(1 << 20); ; window *= 2 {
		start := max(0, end-window)
		if start > 0 {
			skipped, err := newLines(io.NewSectionReader(f, start, end-start)).next()
			if err == nil {
				start += int64(len(skipped))
			} else if err != errLineTooLong {
				return Checkpoint{}, err
			}
			if err != nil || start == end {
				continue // all of it belongs to one line
			}
		}
		var c chain
		ls := newLines(io.NewSectionReader(f, start, end-start))
		if err := c.followAll(ls); err != nil {
			return Checkpoint{}, &DamageError{name, countLines(f, start) + max(ls.n, 1), err}
		}
		return c.head, nil
	}
}

// countLines returns the number of lines that end before end.
func countLines(r io.ReaderAt, end int64) int {
	n := 0
	buf := make([]byte, 64<<10)
	for s := io.NewSectionReader(r, 0, end); ; {
		k, err := s.Read(buf)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if err != nil {
			return n
		}
	}
}

// trim removes the bytes between end and size, which have no newline, if a
// crash can have left them: the start of the line after head, or blocks of
// zeros.
func (l *Log) trim(f File, name string, end, size int64, head Checkpoint) error {
	due := appendLineStart(nil, head)
	if head.Seq == 0 {
		due = []byte(seqStart) // the chain may continue from a checkpoint
	}
	rest := make([]byte, min(int64(len(due)), size-end))
	if _, err := f.ReadAt(rest, end); err != nil && err != io.EOF {
		return err
	}
	written, _, _ := bytes.Cut(rest, []byte{0})
	if !bytes.HasPrefix(due, written) {
		return &DamageError{name, countLines(f, end) + 1, errors.New("the file ends with something other than the start of the next line")}
	}
	l.logger.Warn("removed a partial line from the end of the audit log", "path", name, "bytes", size-end)
	return f.Truncate(end)
}

// trimSegment trims a file other than the one being written.
func (l *Log) trimSegment(s *segment, end int64, head Checkpoint) error {
	if s.gzip {
		return &DamageError{s.name, 0, errors.New("a compressed file ends with a partial line")}
	}
	f, err := l.fs.Open(s.name, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.trim(f, s.name, end, s.info.Size(), head); err != nil {
		return err
	}
	return f.Datasync()
}
