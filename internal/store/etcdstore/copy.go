package etcdstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
)

// localCopy is a copy of the records in a local folder. Nothing in it is synced:
// after a crash, it may be older than it was, but each batch in it is whole and
// says which state it leads to. A copy that is damaged or does not belong to the
// chain of commits is deleted and loaded again.
type localCopy struct {
	dir  string
	db   *pebble.DB
	refs atomic.Int64 // states, plus one for the store
	gone atomic.Bool  // the files are removed in the end

	failure atomic.Pointer[error] // why the copy must be loaded again, or nil
}

// position is what the copy says about itself. It is stored as one of the
// engine's range keys, which are apart from the records' keys.
type position struct {
	Prefix   string          `json:"prefix"`
	Revision int64           `json:"revision"`
	Commit   json.RawMessage `json:"commit"`
}

var positionFrom, positionTo = []byte{0}, []byte{0, 0}

const copyPrefix = "copy-"

// cacheSize is the size in bytes of the cache for blocks of the copy.
const cacheSize = 32 << 20

// openCopy opens the copy in dir, if there is one that is whole.
func openCopy(o Options, fail onFail) (*localCopy, *position) {
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, nil
	}
	var found *localCopy
	var at *position
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), copyPrefix) {
			continue
		}
		dir := filepath.Join(o.Dir, e.Name())
		if found == nil {
			if c, p, err := openOne(o, dir, fail); err == nil {
				found, at = c, p
				continue
			}
		}
		_ = os.RemoveAll(dir)
	}
	return found, at
}

func openOne(o Options, dir string, fail onFail) (*localCopy, *position, error) {
	c, err := openEngine(o, dir, fail)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.position()
	if err != nil {
		_ = c.db.Close()
		return nil, nil, fmt.Errorf("copy %s is not complete: %w", dir, err)
	}
	return c, p, nil
}

// newCopy creates an empty copy.
func newCopy(o Options, fail onFail) (*localCopy, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, copyPrefix)
	if err != nil {
		return nil, err
	}
	c, err := openEngine(o, dir, fail)
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return c, err
}

// onFail is called when a copy can't be used any longer.
type onFail func(*localCopy, error)

func openEngine(o Options, dir string, fail onFail) (c *localCopy, err error) {
	c = &localCopy{dir: dir}
	c.refs.Store(1)
	failed := func(err error) { fail(c, err) }
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                 newCopyDisk(o.fs, failed),
		Cache:              cache,
		FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize:       8 << 20,
		MaxOpenFiles:       512,
		Logger:             quiet{},
		EventListener: &pebble.EventListener{
			// The default handler ends the process.
			DataCorruption:  func(info pebble.DataCorruptionInfo) { failed(info.Details) },
			BackgroundError: failed,
		},
	}
	opts.Experimental.ReadSamplingMultiplier = -1
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 8 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
		}
	}()
	c.db, err = pebble.Open(dir, opts)
	return c, err
}

func (c *localCopy) position() (*position, error) {
	it, err := c.db.NewIter(&pebble.IterOptions{KeyTypes: pebble.IterKeyTypeRangesOnly})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.First() {
		return nil, errors.Join(it.Error(), errUnusable)
	}
	p := new(position)
	return p, json.Unmarshal(it.RangeKeys()[0].Value, p)
}

// write applies batch, which leads to the given commit.
func (c *localCopy) write(batch *pebble.Batch, prefix string, revision int64, commit []byte) error {
	p, err := json.Marshal(position{prefix, revision, commit})
	if err != nil {
		return err
	}
	if err := batch.RangeKeySet(positionFrom, positionTo, nil, p, nil); err != nil {
		return err
	}
	return c.db.Apply(batch, pebble.NoSync)
}

// release drops a reference. The last one closes the engine.
func (c *localCopy) release() {
	if c.refs.Add(-1) > 0 {
		return
	}
	_ = c.db.Close() // nothing in it has to survive
	if c.gone.Load() {
		_ = os.RemoveAll(c.dir)
	}
}

// discard drops the store's reference and removes the files in the end.
func (c *localCopy) discard() {
	c.gone.Store(true)
	c.release()
}

// A state is one state of the store, for Views and the functions of Update to
// read. It remains until the last of them ends.
type state struct {
	copy     *localCopy
	snap     *pebble.Snapshot
	head     *commit // the last commit that it includes
	raw      []byte  // the value of the commit key
	revision int64   // of that commit in etcd
	revs     *group.Revisions

	refs atomic.Int64 // users, plus one while it is the newest
}

func newState(c *localCopy, head *commit, raw []byte, revision int64, revs *group.Revisions) *state {
	st := &state{copy: c, snap: c.db.NewSnapshot(), head: head, raw: raw, revision: revision, revs: revs}
	st.refs.Store(1)
	c.refs.Add(1)
	return st
}

func (st *state) acquire() bool {
	for {
		n := st.refs.Load()
		if n == 0 {
			return false
		}
		if st.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (st *state) release() {
	if st.refs.Add(-1) == 0 {
		_ = st.snap.Close()
		st.copy.release()
	}
}

// quiet is a logger for an engine whose failures its listener and its file system
// report.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
