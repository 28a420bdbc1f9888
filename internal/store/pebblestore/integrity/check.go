package integrity

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FolderState classifies the folder passed to Open.
type FolderState int

// The states of a folder.
const (
	FolderEmpty   FolderState = iota // empty, or left by an interrupted start
	FolderStore                      // a store
	FolderForeign                    // something else, must not be touched
)

// Inspect classifies dir by the names in it. leftovers are files of a store
// whose creation was interrupted.
func Inspect(fs vfs.FS, dir string) (state FolderState, leftovers []string, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, nil, err
	}
	if slices.Contains(names, LedgerName) {
		return FolderStore, nil, nil
	}
	for _, name := range names {
		switch {
		case name == LockName, name == "lost+found":
			continue
		case isTable(name):
			// A store with data must be complete.
			return 0, nil, Corrupt(LedgerName, errors.New("missing"))
		case strings.HasSuffix(name, LogSuffix):
			empty, err := isEmptyLog(fs, fs.PathJoin(dir, name))
			if err != nil {
				return 0, nil, err
			}
			if !empty {
				return 0, nil, Corrupt(LedgerName, errors.New("missing"))
			}
		case strings.HasPrefix(name, ManifestPrefix), strings.HasPrefix(name, MarkerPrefix),
			strings.HasPrefix(name, "OPTIONS-"), strings.HasSuffix(name, ".dbtmp"), name == ledgerTempName:
		default:
			return FolderForeign, nil, nil
		}
		leftovers = append(leftovers, name)
	}
	return FolderEmpty, leftovers, nil
}

// isEmptyLog reports whether a log has no records.
func isEmptyLog(fs vfs.FS, path string) (bool, error) {
	num, ok := LogNumber(fs.PathBase(path))
	if !ok {
		return false, nil
	}
	f, err := fs.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	res, err := scanRecords(f, num)
	return res.end == 0 && res.resumes < 0, err
}

// Check verifies that the store in dir is intact, as far as possible without
// reading all tables, and changes nothing. Pebble verifies the checksums of
// tables' blocks whenever it reads them. options returns the engine's
// configuration.
func Check(fs vfs.FS, dir string, l *Ledger, options func(vfs.FS) *pebble.Options) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		if strings.Contains(err.Error(), "format major version") {
			return fmt.Errorf("the store was written by another version: %w", err)
		}
		return Damaged("the folder's markers", err)
	}
	if err := checkManifest(fs, l, desc); err != nil {
		return err
	}
	for _, n := range l.logs {
		if _, err := fs.Stat(fs.PathJoin(dir, logName(n))); err != nil {
			return Damaged(logName(n), err)
		}
	}

	// Find what the engine itself detects when it opens the folder read-only.
	witness := &readWitness{FS: fs}
	o := options(witness)
	o.Logger = silent{}
	o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	o.ReadOnly = true
	o.ErrorIfNotExists = true
	o.CacheSize = 1 << 20
	o.DisableTableStats = true
	engineErr := Catch(func() error {
		db, err := pebble.Open(dir, o)
		if err != nil {
			return err
		}
		return db.Close()
	})

	for i, n := range witness.logs {
		if err := checkLog(fs, dir, n, i == len(witness.logs)-1, l); err != nil {
			return err
		}
	}
	if engineErr != nil {
		return Damaged(Culprit(engineErr), engineErr)
	}
	return nil
}

// checkManifest compares the manifest with the ledger.
func checkManifest(fs vfs.FS, l *Ledger, desc *pebble.DBDesc) error {
	if !desc.Exists {
		return Corrupt("the manifest's marker", errors.New("missing"))
	}
	name := fs.PathBase(desc.ManifestFilename)
	num, ok := manifestNumber(name)
	if !ok || num < l.manifest {
		return Corrupt("the manifest's marker",
			fmt.Errorf("it names %s, which is older than %s", name, manifestName(l.manifest)))
	}
	f, err := fs.Open(desc.ManifestFilename)
	if err != nil {
		return Damaged(name, err)
	}
	defer f.Close()
	res, err := scanRecords(f, 0)
	if err != nil {
		return Damaged(name, err)
	}
	if num == l.manifest && res.end < l.manifestLen {
		return Corrupt(name, fmt.Errorf("valid up to offset %d of %d", res.end, l.manifestLen))
	}
	if res.end == 0 {
		return Corrupt(name, errors.New("no valid record"))
	}
	return nil
}

// checkLog verifies that a log to be replayed contains everything that was
// synced. The newest log may end in a change cut off by a crash, which was
// never acknowledged; all others must have been closed properly.
func checkLog(fs vfs.FS, dir string, num uint64, newest bool, l *Ledger) error {
	name := logName(num)
	f, err := fs.Open(fs.PathJoin(dir, name))
	if err != nil {
		return Damaged(name, err)
	}
	defer f.Close()
	res, err := scanRecords(f, num)
	switch {
	case err != nil:
		return Damaged(name, err)
	case res.resumes >= 0:
		return Corrupt(name, fmt.Errorf("record at offset %d is damaged", res.end))
	case !newest && !res.closed:
		return Corrupt(name, fmt.Errorf("it ends at offset %d without a trailer", res.end))
	case num == l.log && l.logLen-res.end >= int64(headerSize[2]):
		// Fewer bytes than a header may be padding of the last block.
		return Corrupt(name, fmt.Errorf("record at offset %d is damaged", res.end))
	}
	return nil
}

// readWitness records which logs the engine replays.
type readWitness struct {
	vfs.FS
	mu   sync.Mutex
	logs []uint64
}

func (w *readWitness) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if n, ok := LogNumber(w.PathBase(name)); ok {
		w.mu.Lock()
		if !slices.Contains(w.logs, n) {
			w.logs = append(w.logs, n)
			slices.Sort(w.logs)
		}
		w.mu.Unlock()
	}
	return w.FS.Open(name, opts...)
}

// Lock implements vfs.FS. The store already holds the lock, and the check
// leaves no trace.
func (w *readWitness) Lock(string) (io.Closer, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Close() error { return nil }

// silent is a logger that discards everything.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

func (w *readWitness) Unwrap() vfs.FS { return w.FS }
