package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// pollEvery is how often Compact checks for events that have no notification.
const pollEvery = 5 * time.Millisecond

// Compact removes from the folder all bytes that were overwritten or deleted
// before it was called: it rewrites all tables and empties old logs. Changes
// and Views continue, but Compact waits for the Views that began before it. It
// needs as much free space as the live data.
//
// The freed disk blocks return to the file system, which does not overwrite
// them by itself.
func (s *Store) Compact(ctx context.Context) error {
	select {
	case s.compacting <- struct{}{}:
		defer func() { <-s.compacting }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopping:
		return store.ErrClosed
	}
	// Hold a reference so that Close waits.
	e := s.acquire()
	if e == nil {
		return store.ErrClosed
	}
	gen := e.gen
	gen.acquire()
	e.release()
	defer gen.release()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-gen.stop:
			cancel(engine.Unavailable(gen.disk.failure()))
		case <-s.stopping:
			cancel(store.ErrClosed)
		case <-ctx.Done():
		}
	}()
	if err := s.compact(ctx, gen); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return engine.ReadError(err)
	}
	return nil
}

func (s *Store) compact(ctx context.Context, gen *generation) error {
	// From here on, new logs never reuse the files of old ones.
	gen.disk.freshLogs(true)
	defer gen.disk.freshLogs(false)

	// First flush everything in memory to tables, to learn their bounds.
	if _, err := s.exclusive(ctx, gen, func() error { return nil }); err != nil {
		return err
	}
	old, from, to, err := tables(gen.db)
	if err != nil {
		return err
	}
	// The engine rewrites a table of the last level only if something above
	// overlaps it. A range tombstone for a kind of key that the store never
	// uses overlaps everything, so every table is rewritten.
	var rev uint64
	newest, err := s.exclusive(ctx, gen, func() error {
		batch := gen.db.NewBatch()
		defer batch.Close()
		if len(old) > 0 {
			if err := batch.RangeKeyDelete(from, to, nil); err != nil {
				return err
			}
			if err := gen.db.Apply(batch, pebble.Sync); err != nil {
				return err
			}
		}
		revs := s.committer.revs.Next(&group.TableSet{})
		s.committer.revs = revs
		s.publish(gen, revs)
		rev = revs.Of()
		return nil
	})
	if err != nil {
		return err
	}
	// An older View keeps the data that it sees.
	if err := poll(ctx, func() bool { return !s.live.before(rev) }); err != nil {
		return err
	}
	if len(old) > 0 {
		if err := gen.db.Compact(ctx, from, to, false); err != nil {
			return err
		}
	}
	if err := gen.disk.emptyLogsBefore(s.dir, newest); err != nil {
		return err
	}
	return poll(ctx, func() bool { return !anyExists(s.opts.FS, s.dir, old) })
}

// exclusive runs change while no group is in the engine, and then flushes
// everything to tables. It returns the name of the log in use afterwards,
// which holds nothing older.
func (s *Store) exclusive(ctx context.Context, gen *generation, change func() error) (log string, err error) {
	var flushed <-chan struct{}
	err = store.ErrClosed
	s.committer.between(func() {
		if err = gen.disk.failure(); err != nil {
			return
		}
		if err = change(); err != nil {
			return
		}
		flushed, err = gen.db.AsyncFlush()
		log = gen.disk.newestLog.Load().name
	})
	if err != nil {
		return "", err
	}
	select {
	case <-flushed:
		return log, gen.disk.failure()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// tables returns the names of the engine's tables and the key range that they
// cover.
func tables(db *pebble.DB) (names []string, from, to []byte, err error) {
	levels, err := db.SSTables()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, level := range levels {
		for _, t := range level {
			names = append(names, integrity.TableName(uint64(t.FileNum)))
			if from == nil || bytes.Compare(t.Smallest.UserKey, from) < 0 {
				from = t.Smallest.UserKey
			}
			if bytes.Compare(t.Largest.UserKey, to) >= 0 {
				to = append(bytes.Clone(t.Largest.UserKey), 0)
			}
		}
	}
	return names, from, to, nil
}

func anyExists(fs vfs.FS, dir string, names []string) bool {
	for _, name := range names {
		if _, err := fs.Stat(fs.PathJoin(dir, name)); !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// poll waits until done returns true.
func poll(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
