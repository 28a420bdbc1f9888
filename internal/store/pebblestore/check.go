package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// folderState says what a folder is to Open.
type folderState int

const (
	folderEmpty   folderState = iota // nothing, or what a start that was cut off left
	folderStore                      // a store
	folderForeign                    // something else, not to be touched
)

// inspect tells the state of dir by the names in it. leftovers are the files
// of a store that was never completed.
func inspect(fs vfs.FS, dir string) (state folderState, leftovers []string, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, nil, err
	}
	if slices.Contains(names, guardName) {
		return folderStore, nil, nil
	}
	for _, name := range names {
		switch {
		case name == lockName, name == "lost+found":
			continue
		case isTable(name):
			// A store that holds data is complete.
			return 0, nil, corrupt(guardName, errors.New("missing"))
		case strings.HasSuffix(name, logSuffix):
			empty, err := isEmptyLog(fs, fs.PathJoin(dir, name))
			if err != nil {
				return 0, nil, err
			}
			if !empty {
				return 0, nil, corrupt(guardName, errors.New("missing"))
			}
		case strings.HasPrefix(name, manifestPrefix), strings.HasPrefix(name, markerPrefix),
			strings.HasPrefix(name, "OPTIONS-"), strings.HasSuffix(name, ".dbtmp"), name == guardTempName:
		default:
			return folderForeign, nil, nil
		}
		leftovers = append(leftovers, name)
	}
	return folderEmpty, leftovers, nil
}

// isEmptyLog reports whether a log has no record.
func isEmptyLog(fs vfs.FS, path string) (bool, error) {
	num, ok := logNumber(fs.PathBase(path))
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

// check makes sure that the store in dir is whole, as far as that can be told
// without reading all tables, and changes nothing. The blocks of tables have
// checksums of their own, which are checked whenever one is read.
func check(fs vfs.FS, dir string, g *guard) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		if strings.Contains(err.Error(), "format major version") {
			return fmt.Errorf("the store was written by another version: %w", err)
		}
		return damage("the folder's markers", err)
	}
	if err := checkManifest(fs, g, desc); err != nil {
		return err
	}
	for _, n := range g.logs {
		if _, err := fs.Stat(fs.PathJoin(dir, logName(n))); err != nil {
			return damage(logName(n), err)
		}
	}

	// What the engine itself finds by opening the folder for reading.
	witness := &readWitness{FS: fs}
	o := engineOptions(witness, nil, silent{}, &pebble.EventListener{
		DataCorruption: func(pebble.DataCorruptionInfo) {},
	})
	o.ReadOnly = true
	o.ErrorIfNotExists = true
	o.CacheSize = 1 << 20
	o.DisableTableStats = true
	engineErr := catch(func() error {
		db, err := pebble.Open(dir, o)
		if err != nil {
			return err
		}
		return db.Close()
	})

	for i, n := range witness.logs {
		if err := checkLog(fs, dir, n, i == len(witness.logs)-1, g); err != nil {
			return err
		}
	}
	if engineErr != nil {
		return damage(culprit(engineErr), engineErr)
	}
	return nil
}

// checkManifest compares the manifest with what the guard says about it.
func checkManifest(fs vfs.FS, g *guard, desc *pebble.DBDesc) error {
	if !desc.Exists {
		return corrupt("the marker of the manifest", errors.New("missing"))
	}
	name := fs.PathBase(desc.ManifestFilename)
	num, ok := manifestNumber(name)
	if !ok || num < g.manifest {
		return corrupt("the marker of the manifest",
			fmt.Errorf("names %s, which is older than %s", name, manifestName(g.manifest)))
	}
	f, err := fs.Open(desc.ManifestFilename)
	if err != nil {
		return damage(name, err)
	}
	defer f.Close()
	res, err := scanRecords(f, 0)
	if err != nil {
		return damage(name, err)
	}
	if num == g.manifest && res.end < g.manifestLen {
		return corrupt(name, fmt.Errorf("sound up to offset %d of %d", res.end, g.manifestLen))
	}
	if res.end == 0 {
		return corrupt(name, errors.New("no sound record"))
	}
	return nil
}

// checkLog makes sure that nothing that was synced is missing from a log that
// is to be replayed. The newest may end in a change that was cut off by a
// crash, and so was never acknowledged; the others were closed in order.
func checkLog(fs vfs.FS, dir string, num uint64, newest bool, g *guard) error {
	name := logName(num)
	f, err := fs.Open(fs.PathJoin(dir, name))
	if err != nil {
		return damage(name, err)
	}
	defer f.Close()
	res, err := scanRecords(f, num)
	switch {
	case err != nil:
		return damage(name, err)
	case res.resumes >= 0:
		return corrupt(name, fmt.Errorf("record at offset %d is damaged", res.end))
	case !newest && !res.closed:
		return corrupt(name, fmt.Errorf("ends at offset %d without its trailer", res.end))
	case num == g.log && g.logLen-res.end >= int64(headerSize[2]):
		// Less than a header may be padding of the last block.
		return corrupt(name, fmt.Errorf("record at offset %d is damaged", res.end))
	}
	return nil
}

// damage says that what is damaged, unless err says that it could not be read
// for another reason.
func damage(what string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && !oserror.IsNotExist(err) {
		return unavailable(err)
	}
	if isStoreError(err) {
		return err
	}
	return corrupt(what, err)
}

// culprit returns which file err is about, as far as it says.
func culprit(err error) string {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return filepath.Base(info.Path)
	}
	return "the engine's files"
}

// readWitness notes which logs the engine replays.
type readWitness struct {
	vfs.FS
	mu   sync.Mutex
	logs []uint64
}

func (w *readWitness) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if n, ok := logNumber(w.PathBase(name)); ok {
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

func (w *readWitness) Unwrap() vfs.FS { return w.FS }
