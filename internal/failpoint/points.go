package failpoint

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Points executes the commands of a control file at named points. The file may
// be created, replaced (by renaming) and removed at any time. Its lines have
// the form
//
//	ACTION PATTERN [N]
//
// where ACTION is kill, EIO, ENOSPC or EROFS, and PATTERN matches the names of
// points as in path.Match. The action happens from the Nth match on, counted
// since the file was written. N is 1 by default. The line
//
//	clock DURATION
//
// pushes the process's clock by so much.
type Points struct {
	file string

	mu    sync.Mutex
	seen  os.FileInfo // the file that was read, nil for none
	lines []line
	ahead time.Duration // of the clock
}

type line struct {
	kill    bool
	err     error
	pattern string
	from    int
	reached int
}

// Open returns the points that a file controls. The file need not exist yet.
func Open(file string) *Points { return &Points{file: file} }

// Reach is called at a point. It returns the error that the step must fail
// with, or nil. If the process is to be killed here, it does not return.
func (p *Points) Reach(point string) error {
	kill, err := p.reach(point)
	if kill {
		die()
	}
	return err
}

// killed reports whether the process is to be killed at a point.
func (p *Points) killed(point string) bool {
	kill, _ := p.reach(point)
	return kill
}

func (p *Points) reach(point string) (kill bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return false, err
	}
	for i := range p.lines {
		l := &p.lines[i]
		if ok, err := path.Match(l.pattern, point); err != nil || !ok {
			continue
		}
		if l.reached++; l.reached < l.from {
			continue
		}
		kill = kill || l.kill
		if l.err != nil && err == nil {
			err = &os.PathError{Op: "failpoint", Path: point, Err: l.err}
		}
	}
	return kill, err
}

// Now returns the time of the process's clock, which the file may push.
func (p *Points) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.load() // an error fails every step
	return time.Now().Add(p.ahead)
}

// load rereads the file if it has changed.
func (p *Points) load() error {
	now, err := os.Stat(p.file)
	if err != nil {
		p.seen, p.lines, p.ahead = nil, nil, 0 // no file, no actions
		return nil
	}
	if p.seen != nil && os.SameFile(now, p.seen) && now.ModTime().Equal(p.seen.ModTime()) {
		return nil
	}
	p.seen, p.lines, p.ahead = now, nil, 0
	text, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	for text := range strings.Lines(string(text)) {
		if ahead, ok := strings.CutPrefix(text, "clock "); ok {
			if p.ahead, err = time.ParseDuration(strings.TrimSpace(ahead)); err != nil {
				return fmt.Errorf("%s: %w", p.file, err)
			}
			continue
		}
		l, err := parse(strings.Fields(text))
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err) // fails every step, to be noticed
		}
		p.lines = append(p.lines, l)
	}
	return nil
}

func parse(fields []string) (l line, err error) {
	if len(fields) < 2 || len(fields) > 3 {
		return l, fmt.Errorf("%q is not of the form ACTION PATTERN [N]", strings.Join(fields, " "))
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
		return l, fmt.Errorf("%q is not an action", fields[0])
	}
	if l.pattern, l.from = fields[1], 1; len(fields) == 3 {
		if l.from, err = strconv.Atoi(fields[2]); err != nil || l.from < 1 {
			return l, fmt.Errorf("%q is not a positive number", fields[2])
		}
	}
	if _, err := path.Match(l.pattern, ""); err != nil {
		return l, fmt.Errorf("%q: %w", l.pattern, err)
	}
	return l, nil
}

// die ends the process at once, as in a crash. It does not return.
func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until the signal arrives
}
