// Package pebblestore stores data in a local folder, with Pebble as the
// engine. It is the embedded store, for a single server.
//
// It adds two guarantees to Pebble's. Reads only ever show durable data, so a
// crash can't take back an answer. And a failing disk never ends the process:
// after a failed write, changes are refused until the engine has been
// reopened, and reading damaged data returns an error that names it.
//
// The packages above decide what the bytes mean, and seal them.
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
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// Store is a store.Store in a folder. It is safe for concurrent use.
//
// A View may last long without delaying changes. It costs disk space for data
// overwritten or deleted since it began, and Close waits for it.
type Store struct {
	dir      string
	opts     Options
	log      *slog.Logger
	lock     *folderLock
	folder   *presence // the folder, and the lock in it
	cache    *pebble.Cache
	deferred deferredRemovals

	// published is the epoch that Views read; nil once the store is closed.
	published atomic.Pointer[epoch]
	live      liveEpochs
	readers   sync.Pool // of *engine.Reader

	queue     *group.Queue
	committer *committer

	// Only the executor changes gen. gens counts the generations that are not
	// closed yet.
	gen          atomic.Pointer[generation]
	gens         sync.WaitGroup
	engineFailed chan struct{} // receives a value when a generation fails
	stopping     chan struct{} // closed by Close
	loops        sync.WaitGroup

	compacting chan struct{} // holds a value while Compact runs

	counters   counters
	readFailed atomic.Int64 // when a View last met a disk error
}

var _ store.Store = (*Store)(nil)

// Open opens the store in dir, or creates one, with mode 0700, if dir does not
// exist or is empty. opts may be nil.
//
// It returns store.ErrLocked if another process has the store open, and a
// *store.CorruptError if it is damaged. If it returns an error, it has not
// changed an existing store.
func Open(dir string, opts *Options) (_ *Store, err error) {
	s := &Store{
		dir:          dir,
		opts:         opts.withDefaults(),
		engineFailed: make(chan struct{}, 1),
		stopping:     make(chan struct{}),

		queue:      group.NewQueue(),
		compacting: make(chan struct{}, 1),
		live:       liveEpochs{revs: map[uint64]struct{}{}},
	}
	s.log = s.opts.Logger
	s.readers.New = func() any { return new(engine.Reader) }

	fresh, err := s.enter()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.folder, err = newPresence(s.opts.FS, s.dir, integrity.LockName); err != nil {
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
	s.publish(gen, s.committer.revs)

	s.loops.Go(s.committer.sync)
	s.loops.Add(1)
	go s.committer.execute()
	if !s.opts.ReadOnly {
		s.loops.Go(s.recoverEngine)
	}
	return s, nil
}

// enter creates the folder if needed, takes its lock, and reports whether the
// folder needs a new store.
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
	// Check before locking, so as not to leave a lock in a foreign folder.
	if err := refuseForeign(fs, s.dir); err != nil {
		return false, err
	}
	if fs == vfs.Default {
		wasOpen, err := integrity.OwnFolder(s.dir)
		if err != nil {
			return false, err
		}
		if wasOpen {
			s.log.Info("store: removed other users' access to the folder", "folder", s.dir)
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
		err = fmt.Errorf("%s is not empty and does not contain a store", dir)
	}
	return err
}

// Exclusive implements store.Store: the folder is locked.
func (s *Store) Exclusive() bool { return true }

// Revision implements store.Store.
func (s *Store) Revision(tables ...byte) uint64 {
	if e := s.published.Load(); e != nil {
		return e.revs.Of(tables...)
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
	r := s.readers.Get().(*engine.Reader)
	r.Begin(e.snap, e.revs)
	defer func() {
		r.End()
		s.readers.Put(r)
		e.release()
	}()
	err := fn(r)
	if err != nil && errors.Is(err, store.ErrUnavailable) {
		s.readFailed.Store(time.Now().UnixNano())
	}
	return err
}

// readTrouble is how long the store reports itself unavailable after a disk
// error in a read.
const readTrouble = 10 * time.Second

// available reports whether reads and changes work, as far as known.
func (s *Store) available(gen *generation) bool {
	gen.disk.checkFiles()
	return gen.disk.failure() == nil &&
		time.Since(time.Unix(0, s.readFailed.Load())) > readTrouble &&
		s.leaves(s.freeSpace(), 1, 1) == nil
}

// Update implements store.Store. fn runs on one of the store's goroutines
// while other changes wait, so it should be quick, and must not call Update.
// If fn panics or ends its goroutine, so does Update.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.queue.Update(ctx, fn)
}

// acquire takes a reference to the published epoch. It returns nil once the
// store is closed.
func (s *Store) acquire() *epoch {
	for {
		// An epoch that has just ended has a successor.
		if e := s.published.Load(); e == nil || e.acquire() {
			return e
		}
	}
}

// publish makes the current state of gen visible to Views. It must be durable.
func (s *Store) publish(gen *generation, revs *group.Revisions) {
	if old := s.published.Swap(newEpoch(gen, &s.live, revs)); old != nil {
		old.retire()
	}
}

// Close implements store.Store.
func (s *Store) Close() error {
	if !s.queue.Close() {
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
