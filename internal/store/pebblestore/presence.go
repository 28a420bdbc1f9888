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

// presence finds out when the files that the engine uses are no longer those in
// the folder: somebody has removed them, or the folder, or put others in their
// place. The engine goes on writing to the files that it has open, and all that
// it writes is lost.
//
// Adding, removing and renaming files changes the folder's modification time.
// So as long as that stays the same, one look at it is enough.
type presence struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	files map[string]fileID // that must be there, by name
	log   string            // name of the newest log

	checking sync.Mutex // guards what follows
	folder   fileID
	seen     time.Time // modification time of the folder when all files were there
	settled  bool      // any later change has another modification time
}

// mtimeStep is more than the steps in which file systems count modification
// times. A change that comes sooner after the engine's own may not be seen in
// the folder's time, so all files are looked for once more.
const mtimeStep = 50 * time.Millisecond

// newPresence expects the files that are in dir now, or only those named.
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

// add expects a file that was made.
func (p *presence) add(path string) {
	name := p.fs.PathBase(path)
	if !strings.HasSuffix(name, integrity.TableSuffix) && integrity.KindOf(p.fs, name) == integrity.TableFile && name != integrity.LedgerName && name != integrity.LockName {
		return // nothing depends on it
	}
	info, err := p.fs.Stat(path)
	if err != nil {
		return // the engine will meet that
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = idOf(info)
	if integrity.KindOf(p.fs, name) == integrity.LogFile {
		p.log = name
	}
}

// drop no longer expects a file, which is about to be removed or renamed.
func (p *presence) drop(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.files, p.fs.PathBase(path))
}

// check returns an error when the folder is not as it should be.
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

// expected returns the files that must be there, or only the newest log, which
// has the latest changes.
func (p *presence) expected(newest bool) map[string]fileID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.files[p.log]; newest && ok {
		return map[string]fileID{p.log: id}
	}
	return maps.Clone(p.files)
}

// find makes sure that a file is there.
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
