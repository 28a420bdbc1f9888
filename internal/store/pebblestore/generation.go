package pebblestore

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// restAfter is how long the store must be idle before the ledger records how
// much of the log is durable.
const restAfter = time.Second

// nothingFlushed is Pebble's error for a flush that had nothing to write.
const nothingFlushed = "pebble: empty table"

// A generation is one instance of the open engine. When its disk fails it
// takes no more changes, but serves reads until the next generation takes over
// and its last View ends.
type generation struct {
	store  *Store
	db     *pebble.DB
	disk   *disk
	ledger *integrity.Ledger
	stop   chan struct{} // closed when the disk has failed

	// busy is set when the engine may be overloaded: see waitForEngine.
	busy     atomic.Bool
	progress chan struct{} // receives a value when background work ends

	refs   atomic.Int64  // epochs, plus one for the store
	closed chan struct{} // closed by close

	restMu sync.Mutex
	rest   *time.Timer
}

// openFirst opens the first generation. If the disk is too full for that, it
// opens a read-only one, to be replaced once there is space.
func (s *Store) openFirst(fresh bool) (*generation, error) {
	if s.opts.ReadOnly {
		return s.openReadOnly(errReadOnly)
	}
	if fresh {
		return s.openGeneration(true)
	}
	full := s.spaceToOpen()
	if full == nil {
		gen, err := s.openGeneration(false)
		if !isFull(err) {
			return gen, err
		}
		full = err
	}
	return s.openReadOnly(full)
}

var errReadOnly = errors.New("opened for reading only")

// openReadOnly opens the engine without writing anything. The generation
// refuses changes because of cause.
func (s *Store) openReadOnly(cause error) (*generation, error) {
	g, err := s.checkFolder()
	if err != nil {
		return nil, err
	}
	gen, err := s.newGeneration(g)
	if err != nil {
		return nil, err
	}
	gen.disk.fail(cause)
	o := gen.engineOptions()
	o.ReadOnly = true
	if err := integrity.Catch(func() (err error) { gen.db, err = pebble.Open(s.dir, o); return err }); err != nil {
		gen.abandon()
		return nil, integrity.Damaged(integrity.Culprit(err), err)
	}
	return gen, nil
}

// checkFolder verifies the store in the folder and returns its ledger, not yet
// opened for writing.
func (s *Store) checkFolder() (*integrity.Ledger, error) {
	g, err := integrity.ReadLedger(s.opts.FS, s.dir)
	if err != nil {
		return nil, integrity.Damaged(integrity.LedgerName, err)
	}
	if old := s.gen.Load(); old != nil {
		if log := old.disk.newestLog.Load(); log != nil {
			if err := g.RequireLog(log.name, log.synced.Load()); err != nil {
				return nil, err
			}
		}
	}
	return g, integrity.Check(s.opts.FS, s.dir, g, engineOptions)
}

// newGeneration returns a generation without an engine.
func (s *Store) newGeneration(g *integrity.Ledger) (*generation, error) {
	files, err := newPresence(s.opts.FS, s.dir)
	if err != nil {
		return nil, engine.Unavailable(err)
	}
	gen := &generation{
		store:    s,
		ledger:   g,
		stop:     make(chan struct{}),
		progress: make(chan struct{}, 1),
		closed:   make(chan struct{}),
	}
	gen.disk = newDisk(s.opts.FS, s.dir, g, files, &s.deferred, func(err error) {
		if err != errReadOnly {
			s.log.Error("store: refusing changes until the disk works again", "error", err)
		}
		s.deferred.hold()
		close(gen.stop)
		s.failed()
	})
	gen.refs.Store(1)
	s.gens.Add(1)
	return gen, nil
}

func (gen *generation) engineOptions() *pebble.Options {
	o := engineOptions(gen.disk)
	o.Cache = gen.store.cache
	o.Logger = engineLog{log: gen.store.log, fatal: gen.disk.fail}
	o.EventListener = gen.events()
	return o
}

// openGeneration opens the engine in the store's folder, or creates a store in
// an empty one.
func (s *Store) openGeneration(fresh bool) (_ *generation, err error) {
	var g *integrity.Ledger
	if fresh {
		g = integrity.NewLedger(s.opts.FS, s.dir)
	} else {
		if g, err = s.checkFolder(); err != nil {
			return nil, err
		}
		if err := g.Open(); err != nil {
			return nil, engine.Unavailable(err)
		}
	}
	gen, err := s.newGeneration(g)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}

	o := gen.engineOptions()
	compactions := newScheduler()
	o.Experimental.CompactionScheduler = compactions
	err = integrity.Catch(func() (err error) {
		gen.db, err = pebble.Open(s.dir, o)
		return err
	})
	gen.disk.opening.Store(false)
	if failure := gen.disk.failure(); failure != nil {
		err = failure
	}
	if err == nil && fresh {
		// Last, because the ledger marks the store as complete.
		err = g.Create(s.dir)
		gen.disk.files.add(s.opts.FS.PathJoin(s.dir, integrity.LedgerName))
	}
	if err != nil {
		if gen.db != nil {
			gen.release()
			<-gen.closed
		} else {
			gen.abandon()
		}
		if integrity.IsStoreError(err) {
			return nil, err
		}
		return nil, engine.Unavailable(err)
	}
	compactions.start()
	gen.rest = time.AfterFunc(restAfter, gen.atRest)
	return gen, nil
}

// events returns the listener for the engine's events.
func (gen *generation) events() *pebble.EventListener {
	s := gen.store
	moved := func() {
		select {
		case gen.progress <- struct{}{}:
		default:
		}
	}
	return &pebble.EventListener{
		// The default handler ends the process.
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.counters.corruptions.Add(1)
			s.log.Error("store: damaged data", "path", info.Path, "error", info.Details)
		},
		BackgroundError: func(err error) {
			if !errors.Is(err, errStopped) {
				s.counters.backgroundErrors.Add(1)
				s.log.Error("store: engine background work failed", "error", err)
			}
		},
		FlushEnd: func(info pebble.FlushInfo) {
			// Pebble reports a flush that had nothing to write, because
			// everything had been deleted again, as an error that it does not
			// export.
			nothing := info.Err != nil && info.Err.Error() == nothingFlushed
			if info.Err != nil && !nothing && !pebble.IsCorruptionError(info.Err) {
				// The log would grow without bound.
				gen.disk.fail(info.Err)
			}
			gen.busy.Store(true)
			moved()
		},
		CompactionEnd: func(pebble.CompactionInfo) { moved() },
		WALCreated:    func(pebble.WALCreateInfo) { gen.busy.Store(true) },
	}
}

func (gen *generation) acquire() { gen.refs.Add(1) }

func (gen *generation) release() {
	if gen.refs.Add(-1) == 0 {
		go gen.close()
	}
}

// close closes the engine, which is no longer in use.
func (gen *generation) close() {
	gen.stopResting()
	close(gen.disk.closing)
	if gen.disk.failure() == nil {
		gen.flush()
	}
	if err := integrity.Catch(gen.db.Close); err != nil {
		gen.store.log.Warn("store: closing the engine failed", "error", err)
	}
	gen.abandon()
	close(gen.closed)
}

// abandon releases everything except the engine.
func (gen *generation) abandon() {
	s := gen.store
	if err := gen.ledger.Close(); err != nil {
		s.log.Warn("store: closing the ledger failed", "error", err)
	}
	if gen.disk.failure() != nil {
		s.deferred.release(s.opts.FS)
	}
	s.gens.Done()
}

// flush writes everything to tables, which leaves an empty log: damage at the
// end of a log is the only kind that can't be told from a crash.
func (gen *generation) flush() {
	done, err := gen.db.AsyncFlush()
	if err != nil {
		return
	}
	select {
	case <-done:
	case <-gen.stop:
	}
}

// touched is called after each change; once the store is idle, atRest is
// called.
func (gen *generation) touched() { gen.rest.Reset(restAfter) }

func (gen *generation) atRest() {
	gen.restMu.Lock()
	defer gen.restMu.Unlock()
	if f := gen.disk.newestLog.Load(); f != nil {
		gen.disk.change(func() error { return gen.ledger.LogSynced(f.name, f.synced.Load()) })
	}
}

func (gen *generation) stopResting() {
	if gen.rest != nil {
		gen.rest.Stop()
	}
	gen.restMu.Lock() // waits for a running atRest
	defer gen.restMu.Unlock()
}
