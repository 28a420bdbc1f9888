package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// The data folder holds these, and nothing else of Fluxkeep's:
//
//	format       one line that says what this is
//	keyset.json  the data keys, wrapped by the key-encryption key
//	store/       the store
//	audit.log    the audit log, with what it rotates, unless it is elsewhere
//	key          the key-encryption key, unless it is elsewhere
//
// format is the first file to be made. Until all the others are there, and so
// as long as nobody was answered, it says that the folder is being made: a
// start that was cut short is completed by the next one. Once it says no more
// than the format, a file that is missing was lost, and is never made anew.
const (
	formatName = "format"
	keysetName = "keyset.json"
	storeName  = "store"
	auditName  = "audit.log"
	keyName    = "key"
	// newSuffix is on files that are being written; then they are renamed.
	newSuffix = ".new"
)

const (
	formatNumber = 1
	formatStart  = "fluxkeep data folder, format "
	formatMaking = ", being made"
	// formatRestoring is in a folder that a backup is restored into. Nobody
	// may take that for data before it is whole.
	formatRestoring = ", being restored"
)

// ErrLocked says that another process has the data folder open.
var ErrLocked = errors.New("in use by another process")

// errRestoring says that a restore was cut short.
var errRestoring = errors.New("a restore into it did not end: remove all that is in it, and restore again")

// folderState says how far a data folder is.
type folderState int

const (
	folderEmpty  folderState = iota // there is none, or nothing in it
	folderMaking                    // a first start was cut short
	folderWhole
)

// folder is a data folder that this process has locked.
type folder struct {
	path  string
	ours  []string // files of the operator's that may lie in it
	state folderState
	lock  *os.File // nil as long as there is no folder
}

// openFolder locks the folder that the settings name, and finds out its state.
// It changes nothing. The files that the settings name may lie in it, and others
// of the operator's.
func openFolder(c *Config, others ...string) (*folder, error) {
	path, err := filepath.Abs(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	f := &folder{path: path}
	for _, name := range append(c.ownFiles(), others...) {
		if name == "" {
			continue
		}
		if abs, err := filepath.Abs(name); err == nil {
			f.ours = append(f.ours, abs)
		}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the data folder: %s is not a folder", path)
	}
	if err := f.enter(); err != nil {
		f.close()
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	return f, nil
}

// enter locks a folder that is there and reads its state.
func (f *folder) enter() error {
	dir, err := os.Open(f.path)
	if err != nil {
		return err
	}
	f.lock = dir
	if err := lockFile(dir); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.state, err = f.inspect()
	return err
}

func (f *folder) inspect() (folderState, error) {
	text, err := os.ReadFile(f.file(formatName))
	if err == nil {
		return parseFormat(string(text))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return 0, err
	}
	foreign := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == keysetName, name == storeName:
			return 0, fmt.Errorf("%s has data and no file %s, which says of which format: it is damaged", f.path, formatName)
		case name == "lost+found", name == formatName+newSuffix, slices.Contains(f.ours, f.file(name)):
		default:
			foreign = true
		}
	}
	if foreign {
		return 0, fmt.Errorf("%s is not empty and no data folder of Fluxkeep: choose another with --data-dir", f.path)
	}
	return folderEmpty, nil
}

func parseFormat(text string) (folderState, error) {
	rest, known := strings.CutPrefix(text, formatStart)
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case !known || err != nil:
	case n > formatNumber:
		return 0, fmt.Errorf("it has format %d and was written by a newer version of Fluxkeep: this one knows format %d", n, formatNumber)
	case rest == strconv.Itoa(formatNumber)+"\n":
		return folderWhole, nil
	case rest == strconv.Itoa(formatNumber)+formatMaking+"\n":
		return folderMaking, nil
	case rest == strconv.Itoa(formatNumber)+formatRestoring+"\n":
		return 0, errRestoring
	}
	return 0, fmt.Errorf("its file %s is damaged", formatName)
}

// begin makes the folder, so that it is known to be one that is being made.
func (f *folder) begin() error {
	if err := makeFolder(f.path); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if f.lock == nil {
		if err := f.enter(); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		if f.state != folderEmpty {
			return fmt.Errorf("make the data folder: %s: %w", f.path, ErrLocked) // another process was faster
		}
	}
	if err := f.writeFormat(formatMaking); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	f.state = folderMaking
	return nil
}

// finish marks the folder as whole.
func (f *folder) finish() error {
	if err := f.writeFormat(""); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	f.state = folderWhole
	return nil
}

func (f *folder) writeFormat(state string) error {
	return writeFile(f.file(formatName), []byte(formatStart+strconv.Itoa(formatNumber)+state+"\n"))
}

// checkStore makes sure that a whole folder's store was not lost: an empty one
// would be made in its place.
func (f *folder) checkStore() error {
	if f.state != folderWhole {
		return nil
	}
	entries, err := os.ReadDir(f.file(storeName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open the data folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "LOCK" && e.Name() != "lost+found" {
			return nil
		}
	}
	return fmt.Errorf("open the data folder: %s is missing or empty: the data is lost or its disk is not mounted", f.file(storeName))
}

// hasKey reports whether the key-encryption key lies in the folder.
func (f *folder) hasKey(c *Config) bool {
	if c.Key.Provider != seal.KindKeyFile {
		return false
	}
	path, err := filepath.Abs(c.keyFile())
	return err == nil && strings.HasPrefix(path, f.path+string(filepath.Separator))
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

// close gives the lock back.
func (f *folder) close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// makeFolder makes a folder and those above it that are missing, all durable.
func makeFolder(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

// writeFile writes a file that only its owner can read. When it returns nil,
// the file is durable; after a crash there is the old file or the new one.
func writeFile(path string, content []byte) error {
	temp := path + newSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
