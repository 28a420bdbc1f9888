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

// Report is the result of [Verify].
type Report struct {
	Files int
	Lines uint64
	Bytes int64 // of whole lines, uncompressed

	First uint64     // the number of the first line; 0 if there is none
	Last  Checkpoint // the last line; store it elsewhere to detect truncation later

	FirstTime, LastTime time.Time

	// Missing is the number of lines before First. They were in older files,
	// which the operator may have removed, and cannot be verified.
	Missing uint64
	// Torn is the length of an incomplete last line. Either a running server
	// is about to write the rest, or a crash left it and the next start
	// removes it.
	Torn int64
}

// Verify reads all files of the log at path in the order of their lines. If
// they were changed, it returns a *DamageError together with the report up to
// there. The log may be written at the same time.
//
// Without a checkpoint, the chain does not show that its end was removed, or
// that its last line was changed after the ID. With a checkpoint, the log must
// contain its line with the same hash; otherwise, the error wraps
// ErrCheckpoint.
func Verify(ctx context.Context, path string, check *Checkpoint) (Report, error) {
	return verify(ctx, path, check, func(header, []byte) error { return nil })
}

// verify is Verify that calls each with every line.
func verify(ctx context.Context, path string, check *Checkpoint, each func(header, []byte) error) (Report, error) {
	segs, err := openSegments(path)
	if err != nil {
		return Report{}, err
	}
	defer closeSegments(segs)
	v := verifier{check: check, each: each}
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
	each   func(header, []byte) error
	report Report
	last   []byte // the last line read
	file   string // the file that contains it
	line   int
}

func (v *verifier) segment(ctx context.Context, s *segment, newest bool, path string) error {
	// The newest file may contain only the start of a line. It is the one at
	// path, or one that was moved away from there.
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
			return &DamageError{s.name, ls.n + 1, errors.New("the file ends with a partial line, but is not the last one")}
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
			return fmt.Errorf("%w: line %d of the log has the previous hash %v instead of the checkpoint's %v", ErrCheckpoint, h.seq, h.prev, v.check.Hash)
		}
	}
	if v.check.Seq == h.seq && v.chain.head != *v.check {
		return fmt.Errorf("%w: line %d of the log has the hash %v instead of the checkpoint's %v", ErrCheckpoint, h.seq, v.chain.head.Hash, v.check.Hash)
	}
	v.report.Lines++
	v.report.Bytes += int64(len(line))
	v.report.Last = v.chain.head
	v.last = append(v.last[:0], line...)
	return v.each(h, line)
}

// end makes the checks that are possible only at the end of the log.
func (v *verifier) end(path string) error {
	if v.report.Lines == 0 {
		if v.check.Seq > 0 {
			return &DamageError{path, 0, fmt.Errorf("%w: the log is empty, but the checkpoint is line %d", ErrCheckpoint, v.check.Seq)}
		}
		return nil
	}
	// No later line confirms the last one.
	e, err := Parse(v.last)
	if err != nil {
		return &DamageError{v.file, v.line, err}
	}
	v.report.LastTime = e.Time
	switch {
	case v.check.Seq > e.Seq:
		return &DamageError{v.file, v.line, fmt.Errorf("%w: the log ends at line %d, before the checkpoint's line %d: its end was removed", ErrCheckpoint, e.Seq, v.check.Seq)}
	case v.check.Seq > 0 && v.check.Seq+1 < v.report.First:
		return &DamageError{path, 0, fmt.Errorf("%w: the log starts at line %d, after the checkpoint's line %d", ErrCheckpoint, v.report.First, v.check.Seq)}
	}
	return nil
}

// isEmpty reports whether the file at path is missing or empty.
func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}
