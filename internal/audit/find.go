package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/jsontext"
)

// work limits what Find does for one page of a long log.
type work struct {
	// bytes of the log, after which the page ends. Only a compressed file is read
	// as a whole.
	bytes int
	// disorder is how many lines a line can be away from where its time belongs:
	// after a crash, the next start appends pending records, whose times are those
	// of the crash. The domain never has as many.
	disorder int
}

func defaultWork() work { return work{bytes: 16 << 20, disorder: 10_000} }

// ErrStream means that the log goes to a stream, which cannot be read.
var ErrStream = errors.New("audit: log is a stream and cannot be read")

// Query selects lines. Empty fields select all.
type Query struct {
	Organizations []string // one of these
	// Secret are the texts that may stand for one secret's name. A record that
	// lacks names for want of space may be about the secret, and is selected.
	Secret   []string
	User     string
	Token    string
	Action   string // also a prefix that ends with a star, as in "secrets.*"
	Outcome  string
	Protocol string
	Since    time.Time
	Until    time.Time // exclusive
	Before   uint64    // lines with lower numbers
	After    uint64    // lines with higher numbers
	Limit    int       // 0: no limit
	Ignore   string    // an action that is not selected
}

// Page is the result of a query.
type Page struct {
	Entries []Entry // newest first
	// Next is the Before of the query for the next page, 0 after the last page. A
	// page with few entries or none isn't necessarily the last.
	Next uint64
	// Last is the number of the log's last line.
	Last uint64
	// Called has the sealed names of objects in lines about their creation or
	// deletion, selected or not, by the objects' IDs.
	Called map[string]string
	// Damage says which of the lines read are not as they were written.
	Damage []string
}

// Find returns the newest lines of the log that match, across rotated files. The
// log may be written at the same time. Damage does not hide other lines.
func (l *Log) Find(ctx context.Context, q Query) (Page, error) {
	if l.stream() {
		return Page{}, ErrStream
	}
	return Find(ctx, l.path, q)
}

// Find is [Log.Find] for the log at path.
func Find(ctx context.Context, path string, q Query) (Page, error) {
	return find(ctx, path, q, defaultWork())
}

func find(ctx context.Context, path string, q Query, w work) (Page, error) {
	segs, err := openSegments(path)
	if err != nil {
		return Page{}, err
	}
	defer closeSegments(segs)
	if len(segs) == 0 {
		if _, err := os.Stat(path); err != nil {
			return Page{}, fmt.Errorf("audit: read log: %w", err)
		}
	}
	f := &finder{query: q, disorder: w.disorder, left: w.bytes}
	for _, s := range segs {
		if s.err != nil {
			f.damaged("%s: %v", filepath.Base(s.name), s.err)
		}
	}
	segs = slices.DeleteFunc(slices.Clone(segs), func(s *segment) bool { return s.first == 0 })
	f.find(ctx, segs)
	return f.page, ctx.Err()
}

// finder reads the lines of a log from the last to the first.
type finder struct {
	query    Query
	page     Page
	disorder int
	left     int    // bytes that it may still read
	older    int    // how many lines in a row are older than Since
	newer    *Entry // the line after the one that is read
	done     bool   // no earlier line can match
}

func (f *finder) find(ctx context.Context, segs []*segment) {
	for i, s := range slices.Backward(segs) {
		if ctx.Err() != nil || f.done || f.full() {
			break
		}
		if i == len(segs)-1 {
			if last, err := lastSeq(s); err == nil {
				f.page.Last = last
			}
		}
		if f.query.Before != 0 && s.first >= f.query.Before || i > 0 && f.late(s) && f.late(segs[i-1]) {
			f.newer = nil
			continue
		}
		if err := f.read(ctx, s, i+1 < len(segs)); err != nil && ctx.Err() == nil {
			f.damaged("%s: %v", filepath.Base(s.name), err)
			f.newer = nil
		}
	}
	if f.done || !f.full() || f.page.Next == segs[0].first {
		f.page.Next = 0 // no line is left
	}
}

// late reports whether a segment starts after the time that the query is about.
// The first lines may still be earlier, see work.
func (f *finder) late(s *segment) bool {
	return !f.query.Until.IsZero() && !s.start.Before(f.query.Until)
}

// full reports whether the page ends here. It has at least one line.
func (f *finder) full() bool {
	return f.query.Limit > 0 && len(f.page.Entries) >= f.query.Limit || f.page.Next != 0 && f.left <= 0
}

// read reads the lines of a segment. Only the last one can have an incomplete
// line at its end.
func (f *finder) read(ctx context.Context, s *segment, whole bool) error {
	lines, err := f.linesOf(s)
	if err != nil {
		return err
	}
	for !f.done && !f.full() {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := lines.next()
		if err == io.EOF {
			if lines.cut {
				f.left = 0
			}
			return nil
		}
		if err != nil {
			return err
		}
		f.left -= len(line)
		f.line(line)
	}
	return nil
}

// linesOf returns the lines of a segment that the query does not exclude by
// their number or, roughly, by their time.
func (f *finder) linesOf(s *segment) (*backward, error) {
	if s.gzip {
		return f.unpack(s)
	}
	whole, err := wholeEnd(s.file, s.info.Size())
	if err != nil {
		return nil, err
	}
	end := whole
	switch {
	case f.query.Before != 0:
		end, err = s.before(end, 0, func(line []byte) bool {
			seq, _, ok := parseSeq(line)
			return ok && seq >= f.query.Before
		})
	case !f.query.Until.IsZero():
		end, err = s.before(end, f.disorder, func(line []byte) bool {
			at, ok := timeOf(line)
			return ok && !at.Before(f.query.Until)
		})
	}
	if end != whole {
		f.newer = nil
	}
	return &backward{r: s.file, off: end}, err
}

// before returns where the lines end that are not beyond what is searched, or
// more lines later. It treats damaged lines like those before them.
func (s *segment) before(end int64, more int, beyond func(line []byte) bool) (int64, error) {
	off, err := s.search(func(_ int64, line []byte) (bool, error) { return beyond(line), nil })
	if err != nil {
		return 0, err
	}
	for ls := newLines(s.section(off)); off < end; {
		line, err := ls.next()
		if err != nil { // the rest is read backwards, which reports it
			return end, nil
		}
		if beyond(line) {
			if more--; more < 0 {
				break
			}
		}
		off += int64(len(line))
	}
	return min(off, end), nil
}

// unpack returns the last lines of a compressed segment before the query's
// number, as many as fit on the page.
func (f *finder) unpack(s *segment) (*backward, error) {
	ls, err := s.lines()
	if err != nil {
		return nil, err
	}
	var kept []byte
	from, cut := 0, false // where the lines to keep start
	for {
		line, err := ls.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if seq, _, ok := parseSeq(line); ok && f.query.Before != 0 && seq >= f.query.Before {
			break
		}
		kept = append(kept, line...)
		for len(kept)-from > f.left {
			n := bytes.IndexByte(kept[from:], '\n') + 1
			if from+n == len(kept) {
				break
			}
			from, cut = from+n, true
		}
		if from > len(kept)/2 {
			kept, from = append(kept[:0], kept[from:]...), 0
		}
	}
	return &backward{r: bytes.NewReader(kept[from:]), off: int64(len(kept) - from), cut: cut}, nil
}

// line looks at one line.
func (f *finder) line(line []byte) {
	h, err := parseHeader(bytes.TrimSuffix(line, []byte{'\n'}))
	if err != nil {
		f.damaged("the line before line %d: %v", f.page.Next, err)
		f.newer = nil
		return
	}
	switch {
	case f.query.Before != 0 && h.seq >= f.query.Before:
		return
	case h.seq <= f.query.After:
		f.done = true
		return
	}
	f.page.Next = h.seq
	f.follows(h, line)
	at, _ := timeOf(line)
	if at.Before(f.query.Since) {
		if f.older++; f.older >= f.disorder {
			f.done = true
		}
		f.name(line)
		return
	}
	f.older = 0
	f.name(line)
	if !f.query.Until.IsZero() && !at.Before(f.query.Until) || !f.query.mayMatch(line) {
		return
	}
	e, err := Parse(line)
	if err != nil {
		f.damaged("line %d: %v", h.seq, err)
		return
	}
	if f.query.matches(&e.Record) {
		f.page.Entries = append(f.page.Entries, e)
	}
}

// follows checks that the line after this one has its hash.
func (f *finder) follows(h header, line []byte) {
	if newer := f.newer; newer != nil {
		switch {
		case newer.Seq > h.seq+1:
			f.damaged("lines %d to %d are missing", h.seq+1, newer.Seq-1)
		case newer.Seq != h.seq+1:
			f.damaged("line %d is followed by line %d", h.seq, newer.Seq)
		case newer.Prev != sha256.Sum256(line):
			f.damaged("line %d does not have the hash of line %d", newer.Seq, h.seq)
		}
	}
	f.newer = &Entry{Seq: h.seq, Prev: h.prev}
}

// maxDamage is how many damaged places a page names.
const maxDamage = 10

func (f *finder) damaged(format string, args ...any) {
	if len(f.page.Damage) < maxDamage {
		f.page.Damage = append(f.page.Damage, fmt.Sprintf(format, args...))
	}
}

// name notes the name of the object that a line is about.
func (f *finder) name(line []byte) {
	if !bytes.Contains(line, []byte(`,"called":"`)) {
		return
	}
	e, err := Parse(line)
	if err != nil || e.Called == "" {
		return
	}
	if f.page.Called == nil {
		f.page.Called = make(map[string]string)
	}
	if id := e.Object(); f.page.Called[id] == "" { // the newest, which is read first
		f.page.Called[id] = e.Called
	}
}

// timeOf returns the time in the start of a line.
func timeOf(line []byte) (time.Time, bool) {
	_, rest, ok := bytes.Cut(line[:min(len(line), lineStart)], []byte(`","time":"`))
	if !ok {
		return time.Time{}, false
	}
	text, _, _ := bytes.Cut(rest, []byte{'"'})
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}

// mayMatch reports whether a line has the texts of the query somewhere. It is
// much cheaper than parsing the line.
func (q *Query) mayMatch(line []byte) bool {
	has := func(key, value string) bool {
		if value == "" {
			return true
		}
		text := jsontext.AppendPrintable([]byte(key), value)
		if prefix, ok := bytes.CutSuffix(text, []byte(`*"`)); ok {
			text = prefix
		}
		return bytes.Contains(line, text)
	}
	hasSecret := func(name string) bool { return has("", name) }
	hasOrganization := func(id string) bool { return has(`"organization":`, id) }
	return has(`"user":`, q.User) && has(`"token":`, q.Token) && has(`"action":`, q.Action) &&
		has(`"outcome":`, q.Outcome) && has(`"protocol":`, q.Protocol) &&
		(len(q.Organizations) == 0 || slices.ContainsFunc(q.Organizations, hasOrganization)) &&
		(len(q.Secret) == 0 || slices.ContainsFunc(q.Secret, hasSecret) || bytes.Contains(line, []byte(namesInAll)))
}

// matches reports whether a record meets every condition of the query except its
// times and numbers.
func (q *Query) matches(r *Record) bool {
	is := func(value, want string) bool { return want == "" || value == want }
	action := is(r.Action, q.Action)
	if prefix, ok := strings.CutSuffix(q.Action, "*"); ok {
		action = strings.HasPrefix(r.Action, prefix)
	}
	about := func(name string) bool { return slices.Contains(r.Names, name) || slices.Contains(r.Removed, name) }
	return action && is(r.User, q.User) && is(r.Token, q.Token) && is(r.Outcome, q.Outcome) && is(r.Protocol, q.Protocol) &&
		(q.Ignore == "" || r.Action != q.Ignore) &&
		(len(q.Organizations) == 0 || slices.Contains(q.Organizations, r.Organization)) &&
		(len(q.Secret) == 0 || slices.ContainsFunc(q.Secret, about) || r.lacksNames())
}

// backward reads the lines before an offset from the last to the first.
type backward struct {
	r   io.ReaderAt
	off int64  // where buf starts
	buf []byte // read, and not returned yet
	cut bool   // r lacks earlier lines
}

// next returns the line before the last one, with its newline, or io.EOF. The
// bytes stay valid.
func (b *backward) next() ([]byte, error) {
	const part = 256 << 10
	for {
		if n := len(b.buf); n > 0 {
			if i := bytes.LastIndexByte(b.buf[:n-1], '\n'); i >= 0 || b.off == 0 {
				line := b.buf[i+1:]
				b.buf = b.buf[:i+1]
				return line, nil
			}
		}
		switch {
		case b.off == 0:
			return nil, io.EOF
		case len(b.buf) > maxLine:
			return nil, errLineTooLong
		}
		n := min(b.off, int64(max(part, len(b.buf))))
		buf := make([]byte, n+int64(len(b.buf)))
		if _, err := b.r.ReadAt(buf[:n], b.off-n); err != nil && err != io.EOF {
			return nil, err
		}
		copy(buf[n:], b.buf)
		b.buf, b.off = buf, b.off-n
	}
}
