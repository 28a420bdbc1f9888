package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// takeLock keeps other processes out of the folder, and makes sure that no
// other user can change it.
//
// Some network file systems have no locks. There, the locks of the store and the
// audit log have to suffice.
func (d *dataDir) takeLock() error {
	f, err := openLock(d.path)
	if err != nil {
		return err
	}
	d.lock = f
	if err := durable.Lock(f); errors.Is(err, durable.ErrLocked) {
		return &lockedError{d.path, d.holder()}
	} else if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return checkOwner(f)
}

// lockedError says who has the folder open.
type lockedError struct {
	path   string
	holder string // "" when it isn't known
}

func (e *lockedError) Error() string {
	if e.holder == "" {
		return fmt.Sprintf("%s: %v", e.path, ErrLocked)
	}
	return fmt.Sprintf("%s: %v: %s", e.path, ErrLocked, e.holder)
}

func (e *lockedError) Unwrap() error { return ErrLocked }

// nameHolder writes a file that says who has the folder open. It is for people, so
// it may fail: the lock doesn't depend on it.
func (d *dataDir) nameHolder() {
	d.named = d.writeHolder(fmt.Sprintf("%s, process %d\n", commandName(os.Args), os.Getpid())) == nil
}

// holder returns who has the folder open, "" if unknown.
func (d *dataDir) holder() string {
	f, err := os.Open(d.file(lockName))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 200))
	line, _, whole := strings.Cut(string(text), "\n")
	if err != nil || !whole || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return ""
	}
	return line
}

// commandName returns a command line without its flags and arguments.
func commandName(args []string) string {
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	for _, word := range args[1:] {
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-") != "" || strings.HasPrefix(word, "-") {
			break
		}
		name += " " + word
	}
	return name
}

// close releases the lock.
func (d *dataDir) close() error {
	if d.lock == nil {
		return nil
	}
	if d.named {
		_ = os.Remove(d.file(lockName)) // nobody reads it without the lock
	}
	return d.lock.Close()
}
