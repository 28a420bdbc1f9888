package failpoint

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Points does what a file says at named places. The file may change, appear
// and go at any time; it is to be replaced by a rename. Each of its lines is
//
//	ACTION PATTERN [N]
//
// where ACTION is kill, EIO, ENOSPC or EROFS, PATTERN chooses places as
// path.Match does, and N, 1 by default, says that the line has its effect from
// the Nth time on that one of them is reached since the file was written.
type Points struct {
	file string

	mu    sync.Mutex
	seen  os.FileInfo // of the file that lines come from, nil for none
	lines []line
}

type line struct {
	kill    bool
	err     error
	pattern string
	from    int
	reached int
}

// Open returns the points that a file controls. It need not be there yet.
func Open(file string) *Points { return &Points{file: file} }

// Reach is called at a place. It returns the error that the step is to fail
// with, nil for none; when the place is one to be killed at, it does not
// return.
func (p *Points) Reach(place string) error {
	kill, err := p.reach(place)
	if kill {
		die()
	}
	return err
}

// killed reports whether the process is to be killed at a place.
func (p *Points) killed(place string) bool {
	kill, _ := p.reach(place)
	return kill
}

func (p *Points) reach(place string) (kill bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return false, err
	}
	for i := range p.lines {
		l := &p.lines[i]
		if ok, err := path.Match(l.pattern, place); err != nil || !ok {
			continue
		}
		if l.reached++; l.reached < l.from {
			continue
		}
		kill = kill || l.kill
		if l.err != nil && err == nil {
			err = &os.PathError{Op: "failpoint", Path: place, Err: l.err}
		}
	}
	return kill, err
}

// load reads the file again when it has changed.
func (p *Points) load() error {
	now, err := os.Stat(p.file)
	if err != nil {
		p.seen, p.lines = nil, nil // gone: nothing is to happen
		return nil
	}
	if p.seen != nil && os.SameFile(now, p.seen) && now.ModTime().Equal(p.seen.ModTime()) {
		return nil
	}
	p.seen, p.lines = now, nil
	text, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	for text := range strings.Lines(string(text)) {
		l, err := parse(strings.Fields(text))
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err) // fails every step, so that it is seen
		}
		p.lines = append(p.lines, l)
	}
	return nil
}

func parse(fields []string) (l line, err error) {
	if len(fields) < 2 || len(fields) > 3 {
		return l, fmt.Errorf("%q is not ACTION PATTERN [N]", strings.Join(fields, " "))
	}
	switch fields[0] {
	case "kill":
		l.kill = true
	case "EIO":
		l.err = syscall.EIO
	case "ENOSPC":
		l.err = syscall.ENOSPC
	case "EROFS":
		l.err = syscall.EROFS
	default:
		return l, fmt.Errorf("%q is no action", fields[0])
	}
	if l.pattern, l.from = fields[1], 1; len(fields) == 3 {
		if l.from, err = strconv.Atoi(fields[2]); err != nil || l.from < 1 {
			return l, fmt.Errorf("%q is no number of times", fields[2])
		}
	}
	if _, err := path.Match(l.pattern, ""); err != nil {
		return l, fmt.Errorf("%q: %w", l.pattern, err)
	}
	return l, nil
}

// die ends the process at once, as a crash does. It does not return.
func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // it may take a moment
}
