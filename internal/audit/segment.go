package audit

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// segment is one file of a log, open for reading.
type segment struct {
	name  string
	file  *os.File
	info  fs.FileInfo
	gzip  bool      // compressed by the operator's rotation
	first uint64    // the number of its first line; 0 if it has no whole line
	start time.Time // when that line was written
	err   error     // why first could not be read
}

// openSegments opens all non-empty files of the log at path, in the order of
// their lines. Files without a whole line and unreadable files come last. The
// log may be written and rotated at the same time.
func openSegments(path string) ([]*segment, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("audit: find log: %w", err)
	}
	for range 100 {
		segs, same, err := tryOpenSegments(path)
		if err == nil && same {
			return segs, nil
		}
		closeSegments(segs)
		if err != nil {
			return nil, fmt.Errorf("audit: find log: %w", err)
		}
	}
	return nil, fmt.Errorf("audit: find log: the files of %s keep being renamed", path)
}

func closeSegments(segs []*segment) {
	for _, s := range segs {
		s.file.Close()
	}
}

// tryOpenSegments opens the files and reports whether their names stayed the
// same: a concurrent rotation could hide a file.
func tryOpenSegments(path string) (segs []*segment, same bool, err error) {
	names, err := segmentNames(path)
	if err != nil {
		return nil, false, err
	}
	for _, name := range names {
		s, err := openSegment(name)
		if errors.Is(err, fs.ErrNotExist) {
			return segs, false, nil
		}
		if err != nil {
			return segs, false, err
		}
		segs = append(segs, s)
	}
	again, err := segmentNames(path)
	if err != nil || !slices.Equal(names, again) {
		return segs, false, err
	}
	for _, s := range segs {
		info, err := os.Stat(s.name)
		if err != nil || !os.SameFile(info, s.info) {
			return segs, false, nil
		}
	}
	segs = slices.DeleteFunc(segs, func(s *segment) bool {
		empty := s.info.Size() == 0
		if empty {
			s.file.Close()
		}
		return empty
	})
	slices.SortFunc(segs, func(a, b *segment) int {
		// Minus one, so that 0 sorts last.
		return cmp.Or(cmp.Compare(a.first-1, b.first-1), cmp.Compare(a.name, b.name))
	})
	return segs, true, nil
}

// segmentNames lists the files of the log: path itself, and path followed by
// "-" or "." and a digit, which are the names that this package and logrotate
// give to rotated files.
func segmentNames(path string) ([]string, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), base)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		rotated := len(suffix) >= 2 && (suffix[0] == '-' || suffix[0] == '.') && '0' <= suffix[1] && suffix[1] <= '9'
		if suffix == "" || rotated {
			names = append(names, dir+e.Name())
		}
	}
	return names, nil
}

func openSegment(name string) (*segment, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s := &segment{name: name, file: f}
	if s.info, err = f.Stat(); err != nil {
		f.Close()
		return nil, err
	}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err == nil {
		s.gzip = magic == [2]byte{0x1f, 0x8b}
	}
	s.first, s.err = s.readFirst()
	return s, nil
}

// readFirst returns the number of the first line, or 0 if there is no whole
// line.
func (s *segment) readFirst() (uint64, error) {
	ls, err := s.linesSize(4 << 10)
	if err != nil {
		return 0, err
	}
	line, err := ls.next()
	if err == io.EOF {
		return 0, nil
	}
	if err != nil {
		return 0, &DamageError{s.name, 1, err}
	}
	h, err := parseHeader(line[:len(line)-1])
	if err != nil {
		return 0, &DamageError{s.name, 1, err}
	}
	s.start, _ = timeOf(line)
	return h.seq, nil
}

// lines reads the segment from the start.
func (s *segment) lines() (*lines, error) { return s.linesSize(128 << 10) }

func (s *segment) linesSize(size int) (*lines, error) {
	if !s.gzip {
		return newLinesSize(s.section(0), size), nil
	}
	r, err := gzip.NewReader(s.section(0))
	if err != nil {
		return nil, &DamageError{s.name, 0, err}
	}
	return newLinesSize(r, size), nil
}

// linesNear reads the segment from a line at or before seq, and not far before
// it unless the segment is compressed.
func (s *segment) linesNear(seq uint64) (*lines, error) {
	if s.gzip || seq <= s.first {
		return s.lines()
	}
	off, at, err := s.locate(seq)
	if err != nil {
		return nil, err
	}
	ls := newLines(s.section(off))
	ls.n = int(at - s.first) // correct in an undamaged log
	return ls, nil
}

func (s *segment) section(off int64) *io.SectionReader {
	return io.NewSectionReader(s.file, off, math.MaxInt64-off)
}

// locate finds the line numbered seq by binary search. It returns the offset
// and the number of that line or one shortly before it.
func (s *segment) locate(seq uint64) (off int64, at uint64, err error) {
	at = s.first
	off, err = s.search(func(start int64, line []byte) (bool, error) {
		n, _, ok := parseSeq(line)
		if !ok {
			return false, &DamageError{File: s.name, Err: fmt.Errorf("at byte %d: %w", start, errNotLine)}
		}
		if n > seq {
			return true, nil
		}
		at = n
		return false, nil
	})
	return off, at, err
}

// lineStart is enough of a line for its header and its time.
const lineStart = 256

// search returns the offset of the last line that is not beyond what is
// searched, or of one shortly before it. beyond gets the start of a line, which
// is valid until it returns.
func (s *segment) search(beyond func(start int64, line []byte) (bool, error)) (off int64, err error) {
	const near = 64 << 10
	low, high := int64(0), s.info.Size()
	for high-low > near {
		mid := low + (high-low)/2
		start, line, err := s.lineAfter(mid, high)
		if err != nil {
			return 0, err
		}
		over := start < 0
		if !over {
			if over, err = beyond(start, line); err != nil {
				return 0, err
			}
		}
		if over {
			high = mid
		} else {
			low = start
		}
	}
	return low, nil
}

// lineAfter returns the offset and the start of the first line that starts
// after off and before end, or a negative offset if there is none.
func (s *segment) lineAfter(off, end int64) (start int64, line []byte, err error) {
	r := bufio.NewReader(s.section(off))
	for start = off; ; {
		part, err := r.ReadSlice('\n')
		start += int64(len(part))
		if err == io.EOF || start >= end {
			return -1, nil, nil
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return 0, nil, fmt.Errorf("audit: read log: %w", err)
		}
	}
	line, _ = r.Peek(lineStart)
	return start, line, nil
}
