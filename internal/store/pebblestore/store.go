// Package pebblestore keeps a store in a folder of the local disk, with
// Pebble as the engine. It is the store of a server that runs alone.
//
// It guards two things that the engine leaves to its user. Reads only ever
// show what is durable, so that nothing that was answered can be taken back
// by a crash. And nothing that goes wrong on the disk ends the process: a
// failed write refuses changes until the engine could be opened anew, and
// damaged data is an error that names it.
//
// What the bytes mean, and that they are sealed, is the business of the
// packages above.
package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// Store is a store.Store in a folder. Its methods may be called by several
// goroutines at once.
//
// A View may last long: it keeps its state as it was and holds up no change.
// What it costs is disk space, for what was overwritten or deleted since it
// began, and that Close waits for it.
type Store struct {
	dir      string
	opts     Options
	log      *slog.Logger
	lock     *folderLock
	home     *presence // the folder, and the lock in it
	cache    *pebble.Cache
	deferred deferredRemovals

	// published is what Views read; nil once the store is closed.
	published atomic.Pointer[epoch]
	live      liveEpochs
	readers   sync.Pool // of *reader

	queue     queue
	requests  sync.Pool // of *request
	committer *committer

	// Only the executor changes gen; gens counts the generations that are
	// not closed yet.
	gen          atomic.Pointer[generation]
	gens         sync.WaitGroup
	engineFailed chan struct{} // gets a value when a generation has failed
	stopping     chan struct{} // closed by Close
	loops        sync.WaitGroup

	compacting chan struct{} // holds a value while Compact runs

	counters   counters
	readFailed atomic.Int64 // when a View last met an error of the disk
}

var _ store.Store = (*Store)(nil)

// Open opens the store in dir, or makes one, with mode 0700, when dir does
// not exist or is empty. opts may be nil.
//
// It returns store.ErrLocked when another process has the store open and a
// *store.CorruptError when it is damaged. Whenever it returns an error, it
// has changed nothing in a store that was there.
func Open(dir string, opts *Options) (_ *Store, err error) {
	s := &Store{
		dir:          dir,
		opts:         opts.withDefaults(),
		engineFailed: make(chan struct{}, 1),
		stopping:     make(chan struct{}),

		compacting: make(chan struct{}, 1),
		live:       liveEpochs{revs: map[uint64]struct{}{}},
	}
	s.log = s.opts.Logger
	s.readers.New = func() any { return new(reader) }
	s.requests.New = func() any { return &request{done: make(chan struct{}, 1)} }
	s.queue.init()

	fresh, err := s.enter()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.home, err = newPresence(s.opts.FS, s.dir, integrity.LockName); err != nil {
		return nil, fmt.Errorf("open store: %w", errors.Join(err, s.lock.giveUp()))
	}
	s.cache = pebble.NewCache(s.opts.CacheSize)
	gen, err := s.openFirst(fresh)
	if err != nil {
		s.cache.Unref()
		return nil, fmt.Errorf("open store: %w", errors.Join(err, s.lock.giveUp()))
	}
	s.gen.Store(gen)
	s.committer = newCommitter(s)
	s.committer.changed = everyTable
	s.publish(gen, s.committer.nextRevisions())

	s.loops.Go(s.committer.sync)
	s.loops.Add(1)
	go s.committer.execute()
	if !s.opts.ReadOnly {
		s.loops.Go(s.recoverEngine)
	}
	return s, nil
}

// enter makes the folder if need be, takes its lock and reports whether a new
// store is to be made in it.
func (s *Store) enter() (fresh bool, err error) {
	fs := s.opts.FS
	if s.opts.ReadOnly {
		s.lock, err = lockReadOnly(fs, s.dir)
		return false, err
	}
	if _, err := fs.Stat(s.dir); errors.Is(err, os.ErrNotExist) {
		if err := integrity.MakeFolder(fs, s.dir); err != nil {
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	// A first look, so as not to leave a lock in a folder that is not ours.
	if err := refuseForeign(fs, s.dir); err != nil {
		return false, err
	}
	if fs == vfs.Default {
		wasOpen, err := integrity.OwnFolder(s.dir)
		if err != nil {
			return false, err
		}
		if wasOpen {
			s.log.Info("store: the folder was open to other users and was closed to them", "folder", s.dir)
		}
	}
	if s.lock, err = lockFolder(fs, s.dir); err != nil {
		return false, err
	}
	state, leftovers, err := integrity.Inspect(fs, s.dir)
	if err == nil && state == integrity.FolderEmpty {
		for _, name := range leftovers {
			if err = fs.Remove(fs.PathJoin(s.dir, name)); err != nil {
				break
			}
		}
	}
	if err != nil {
		return false, errors.Join(err, s.lock.giveUp())
	}
	return state == integrity.FolderEmpty, nil
}

func refuseForeign(fs vfs.FS, dir string) error {
	state, _, err := integrity.Inspect(fs, dir)
	if err == nil && state == integrity.FolderForeign {
		err = fmt.Errorf("%s is not empty and holds no store", dir)
	}
	return err
}

// Exclusive implements store.Store: the lock of the folder sees to it.
func (s *Store) Exclusive() bool { return true }

// Revision implements store.Store.
func (s *Store) Revision(tables ...byte) uint64 {
	if e := s.published.Load(); e != nil {
		return e.revs.of(tables)
	}
	return 0
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := s.acquire()
	if e == nil {
		return store.ErrClosed
	}
	r := s.readers.Get().(*reader)
	r.src, r.revs = e.snap, e.revs
	defer func() {
		r.end()
		s.readers.Put(r)
		e.release()
	}()
	err := fn(r)
	if err != nil && errors.Is(err, store.ErrUnavailable) {
		s.readFailed.Store(time.Now().UnixNano())
	}
	return err
}

// readTrouble is how long the store says that it does not work after a read
// that failed because of the disk.
const readTrouble = 10 * time.Second

// available reports whether reads and changes work, as far as is known.
func (s *Store) available(gen *generation) bool {
	gen.disk.checkFiles()
	return gen.disk.failure() == nil &&
		time.Since(time.Unix(0, s.readFailed.Load())) > readTrouble &&
		s.leaves(s.freeSpace(), 1, 1) == nil
}

// acquire takes a reference to the published epoch, nil once the store is
// closed.
func (s *Store) acquire() *epoch {
	for {
		// One that has just ended is followed by another.
		if e := s.published.Load(); e == nil || e.acquire() {
			return e
		}
	}
}

// publish makes the current state of gen what Views see. The state must be
// durable.
func (s *Store) publish(gen *generation, revs *revisions) {
	if old := s.published.Swap(newEpoch(gen, &s.live, revs)); old != nil {
		old.retire()
	}
}

// Close implements store.Store.
func (s *Store) Close() error {
	if !s.queue.close() {
		return store.ErrClosed
	}
	close(s.stopping)
	s.loops.Wait()
	if e := s.published.Swap(nil); e != nil {
		e.retire()
	}
	s.gen.Load().release()
	s.gens.Wait()
	s.cache.Unref()
	return s.lock.Close()
}
