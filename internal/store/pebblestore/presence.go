package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// presence detects when the files in the folder are no longer those that the
// engine uses: the files or the folder were removed or replaced. The engine
// keeps writing to its open files, and everything it writes is lost.
//
// Adding, removing or renaming a file changes the folder's modification time.
// So while that stays the same, one stat is enough.
type presence struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	files map[string]fileID // required files, by name
	log   string            // name of the newest log

	checking sync.Mutex // guards what follows
	folder   fileID
	seen     time.Time // modification time of the folder when all files were there
	settled  bool      // any later change has another modification time
}

// mtimeStep is longer than the granularity of modification times. A change
// soon after one of the engine's own may leave the folder's time as it was, so
// all files are checked once more.
const mtimeStep = 50 * time.Millisecond

// newPresence expects the files that are in dir now, or only the named ones.
func newPresence(fsys vfs.FS, dir string, names ...string) (*presence, error) {
	p := &presence{fs: fsys, dir: dir, files: map[string]fileID{}}
	info, err := fsys.Stat(dir)
	if err != nil {
		return nil, err
	}
	p.folder = idOf(info)
	if len(names) == 0 {
		if names, err = fsys.List(dir); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		p.add(fsys.PathJoin(dir, name))
	}
	return p, nil
}

// add expects a newly created file.
func (p *presence) add(path string) {
	name := p.fs.PathBase(path)
	if !strings.HasSuffix(name, integrity.TableSuffix) && integrity.KindOf(p.fs, name) == integrity.TableFile && name != integrity.LedgerName && name != integrity.LockName {
		return // not needed
	}
	info, err := p.fs.Stat(path)
	if err != nil {
		return // the engine will find out
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = idOf(info)
	if integrity.KindOf(p.fs, name) == integrity.LogFile {
		p.log = name
	}
}

// drop stops expecting a file that is about to be removed or renamed.
func (p *presence) drop(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.files, p.fs.PathBase(path))
}

// check returns an error if the folder is missing files or was replaced.
func (p *presence) check() error {
	p.checking.Lock()
	defer p.checking.Unlock()
	info, err := p.fs.Stat(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the store's folder was removed")
	case err != nil:
		return err
	case idOf(info) != p.folder:
		return errors.New("the store's folder was replaced by another")
	}
	same := info.ModTime().Equal(p.seen)
	if same && p.settled {
		return nil
	}
	now := time.Now()
	settled := now.Sub(info.ModTime()) > mtimeStep
	for name, id := range p.expected(same && !settled) {
		if err := p.find(name, id); err != nil && p.expects(name, id) {
			return err
		}
	}
	p.seen, p.settled = info.ModTime(), settled
	return nil
}

// expected returns the required files, or only the newest log, which holds the
// latest changes.
func (p *presence) expected(newest bool) map[string]fileID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.files[p.log]; newest && ok {
		return map[string]fileID{p.log: id}
	}
	return maps.Clone(p.files)
}

// find checks that a file exists and is still the same one.
func (p *presence) find(name string, id fileID) error {
	info, err := p.fs.Stat(p.fs.PathJoin(p.dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s was removed from the store's folder", name)
	case err != nil:
		return err
	case idOf(info) != id:
		return fmt.Errorf("%s was replaced in the store's folder", name)
	}
	return nil
}

func (p *presence) expects(name string, id fileID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, ok := p.files[name]
	return ok && got == id
}
