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

// FolderState says what a folder is to Open.
type FolderState int

// The states of a folder.
const (
	FolderEmpty   FolderState = iota // nothing, or what a start that was cut off left
	FolderStore                      // a store
	FolderForeign                    // something else, not to be touched
)

// Inspect tells the state of dir by the names in it. leftovers are the files
// of a store that was never completed.
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
			// A store that holds data is complete.
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

// isEmptyLog reports whether a log has no record.
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

// Check makes sure that the store in dir is whole, as far as that can be told
// without reading all tables, and changes nothing. The blocks of tables have
// checksums of their own, which are checked whenever one is read. options
// returns how the engine is run.
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

	// What the engine itself finds by opening the folder for reading.
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

// checkManifest compares the manifest with what the ledger says about it.
func checkManifest(fs vfs.FS, l *Ledger, desc *pebble.DBDesc) error {
	if !desc.Exists {
		return Corrupt("the marker of the manifest", errors.New("missing"))
	}
	name := fs.PathBase(desc.ManifestFilename)
	num, ok := manifestNumber(name)
	if !ok || num < l.manifest {
		return Corrupt("the marker of the manifest",
			fmt.Errorf("names %s, which is older than %s", name, manifestName(l.manifest)))
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
		return Corrupt(name, fmt.Errorf("sound up to offset %d of %d", res.end, l.manifestLen))
	}
	if res.end == 0 {
		return Corrupt(name, errors.New("no sound record"))
	}
	return nil
}

// checkLog makes sure that nothing that was synced is missing from a log that
// is to be replayed. The newest may end in a change that was cut off by a
// crash, and so was never acknowledged; the others were closed in order.
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
		return Corrupt(name, fmt.Errorf("ends at offset %d without its trailer", res.end))
	case num == l.log && l.logLen-res.end >= int64(headerSize[2]):
		// Less than a header may be padding of the last block.
		return Corrupt(name, fmt.Errorf("record at offset %d is damaged", res.end))
	}
	return nil
}

// readWitness notes which logs the engine replays.
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

// Lock implements vfs.FS: the store holds the lock already, and the check
// leaves no trace.
func (w *readWitness) Lock(string) (io.Closer, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Close() error { return nil }

// silent is a log that nobody reads.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

func (w *readWitness) Unwrap() vfs.FS { return w.FS }
