package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Report says what [Verify] found.
type Report struct {
	Files int
	Lines uint64
	Bytes int64 // of whole lines, unpacked

	First uint64     // the number of the first line that is here; 0 when there is none
	Last  Checkpoint // the last line: keep it elsewhere to find out later whether the log was cut

	FirstTime, LastTime time.Time

	// Missing counts the lines before First. They are in older files, which
	// the operator may have removed, and about which nothing is known.
	Missing uint64
	// Torn counts the bytes of a last line that has no end. A running server
	// may be about to write it, or a crash left it, and then the next start
	// removes it.
	Torn int64
}

// Verify reads all files of the log at path in the order of their lines, and
// returns a *DamageError when they are not what was written, together with the
// report up to there. The log may be written meanwhile.
//
// Without a checkpoint the chain can't tell when its end was cut away or when
// its last line was changed behind its ID. With one, the log must hold the
// checkpoint's line with its hash, or else the error wraps ErrCheckpoint.
func Verify(ctx context.Context, path string, check *Checkpoint) (Report, error) {
	segs, err := openSegments(path)
	if err != nil {
		return Report{}, err
	}
	defer closeSegments(segs)
	v := verifier{check: check}
	if v.check == nil {
		v.check = new(Checkpoint)
	}
	if len(segs) == 0 {
		if _, err := os.Stat(path); err != nil {
			return Report{}, fmt.Errorf("audit: verify log: %w", err)
		}
	}
	path, err = resolve(path)
	if err != nil {
		return Report{}, err
	}
	for _, s := range segs {
		if s.err != nil {
			return Report{}, s.err
		}
	}
	for i, s := range segs {
		if err := v.segment(ctx, s, i == len(segs)-1, path); err != nil {
			return v.report, err
		}
	}
	return v.report, v.end(path)
}

type verifier struct {
	chain  chain
	check  *Checkpoint // zero for none
	report Report
	last   []byte // the last line
	file   string // that holds it
	line   int
}

func (v *verifier) segment(ctx context.Context, s *segment, newest bool, path string) error {
	// The newest file may hold no more than the beginning of a line. That is the
	// one at path, or one that was moved away from there.
	if s.first == 0 && !(newest && (s.name == path || isEmpty(path))) {
		return &DamageError{s.name, 1, errNotLine}
	}
	ls, err := s.lines()
	if err != nil {
		return err
	}
	v.report.Files++
	for {
		if ls.n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := ls.next()
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err == io.EOF && newest && !s.gzip:
			v.report.Torn = int64(len(line))
			return nil
		case err == io.EOF:
			return &DamageError{s.name, ls.n + 1, errors.New("the file ends in half a line, and is not the last one")}
		case err != nil:
			return &DamageError{s.name, ls.n + 1, err}
		}
		if err := v.follow(line); err != nil {
			return &DamageError{s.name, ls.n, err}
		}
		v.file, v.line = s.name, ls.n
	}
}

func (v *verifier) follow(line []byte) error {
	first := !v.chain.started
	h, err := v.chain.follow(line)
	if err != nil {
		return err
	}
	if first {
		e, err := Parse(line)
		if err != nil {
			return err
		}
		v.report.First, v.report.FirstTime, v.report.Missing = e.Seq, e.Time, e.Seq-1
		if v.check.Seq > 0 && v.check.Seq == h.seq-1 && v.check.Hash != h.prev {
			return fmt.Errorf("%w: line %d of the log carries the hash %v of the line before, and the checkpoint has %v", ErrCheckpoint, h.seq, h.prev, v.check.Hash)
		}
	}
	if v.check.Seq == h.seq && v.chain.head != *v.check {
		return fmt.Errorf("%w: line %d of the log has the hash %v, and the checkpoint has %v", ErrCheckpoint, h.seq, v.chain.head.Hash, v.check.Hash)
	}
	v.report.Lines++
	v.report.Bytes += int64(len(line))
	v.report.Last = v.chain.head
	v.last = append(v.last[:0], line...)
	return nil
}

// end checks what only the end of the log can tell.
func (v *verifier) end(path string) error {
	if v.report.Lines == 0 {
		if v.check.Seq > 0 {
			return &DamageError{path, 0, fmt.Errorf("%w: the log is empty, and the checkpoint is line %d", ErrCheckpoint, v.check.Seq)}
		}
		return nil
	}
	// No later line vouches for the last one.
	e, err := Parse(v.last)
	if err != nil {
		return &DamageError{v.file, v.line, err}
	}
	v.report.LastTime = e.Time
	switch {
	case v.check.Seq > e.Seq:
		return &DamageError{v.file, v.line, fmt.Errorf("%w: the log ends at line %d, and the checkpoint is line %d: the end was cut away", ErrCheckpoint, e.Seq, v.check.Seq)}
	case v.check.Seq > 0 && v.check.Seq+1 < v.report.First:
		return &DamageError{path, 0, fmt.Errorf("%w: the log begins at line %d, and the checkpoint is line %d", ErrCheckpoint, v.report.First, v.check.Seq)}
	}
	return nil
}

// isEmpty reports whether there is no file at path, or none with a byte in it.
func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}
