package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// The data folder of a server with a store of its own contains these files of
// Fluxkeep, and no others:
//
//	format                one line that identifies the folder
//	keyset.json           the data keys, wrapped by the key-encryption key
//	keyset.json.previous  the previous keyset, until the next start
//	store/                the store
//	audit.log             the audit log and its rotated files, unless it is elsewhere
//	key                   the key-encryption key, unless it is elsewhere
//	lock                  the process that has the folder open
//
// The folder of a server whose store is in etcd has the server's ID in its format, and
// instead of the keyset and the store a copy of what is in etcd, in copy/.
//
// format is created first. Until all other files exist, and so until the first
// request is answered, it says that the folder is incomplete: the next start
// completes an interrupted one. Once it contains only the format, a missing file
// was lost and is never created again.
const (
	formatName   = "format"
	keysetName   = "keyset.json"
	previousName = keysetName + ".previous"
	storeName    = "store"
	copyName     = "copy"
	lockName     = "lock"
)

const (
	formatNumber = 1
	formatStart  = "fluxkeep data folder, format "
	formatServer = ", of server " // and the server's ID
	formatMaking = ", being made"
	// formatRestoring marks a folder during a restore, so that it isn't used
	// before it is complete.
	formatRestoring = ", being restored"
)

// ErrLocked says that another process has the data folder open.
var ErrLocked = durable.ErrLocked

// errRestoring says that a restore was interrupted.
var errRestoring = errors.New("a restore into it did not finish: remove everything in it, and restore again")

// dirState is the state of a data folder.
type dirState int

const (
	stateEmpty  dirState = iota // it is missing or empty
	stateMaking                 // a first start was interrupted
	stateWhole
)

// dataDir is a data folder that this process has locked.
type dataDir struct {
	path    string
	allowed []string // other files that may be in it
	state   dirState
	server  keep.ID  // of a server whose store is in etcd, else 0
	lock    *os.File // nil until the folder exists
	named   bool     // the file lockName names this process
}

// lockDir locks the data folder and determines its state. It changes nothing. The
// files named by settings may be in the folder, and so may others.
func lockDir(c *config.Config, others ...string) (*dataDir, error) {
	path, err := filepath.Abs(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	d := &dataDir{path: path}
	for _, name := range append(c.NamedFiles(), others...) {
		if name == "" {
			continue
		}
		if abs, err := filepath.Abs(name); err == nil {
			d.allowed = append(d.allowed, abs)
		}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the data folder: %s is not a folder", path)
	}
	if err := d.enter(); err != nil {
		d.close()
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	if err := d.checkKind(c); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// enter locks an existing folder and reads its state.
func (d *dataDir) enter() error {
	if err := d.takeLock(); err != nil {
		return err
	}
	var err error
	d.state, err = d.inspect()
	return err
}

func (d *dataDir) inspect() (dirState, error) {
	text, err := os.ReadFile(d.file(formatName))
	if err == nil {
		state, server, err := parseFormat(string(text))
		d.server = server
		return state, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return 0, err
	}
	foreign := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == keysetName, name == previousName, name == storeName, name == copyName:
			return 0, fmt.Errorf("%s has data but no file %s, which identifies it: it is damaged", d.path, formatName)
		case name == "lost+found", name == lockName, name == formatName+durable.TempSuffix, slices.Contains(d.allowed, d.file(name)):
		default:
			foreign = true
		}
	}
	if foreign {
		return 0, fmt.Errorf("%s is not empty and no data folder of Fluxkeep: choose another with --data-dir", d.path)
	}
	return stateEmpty, nil
}

func parseFormat(text string) (state dirState, server keep.ID, err error) {
	rest, known := strings.CutPrefix(text, formatStart)
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	n, err := strconv.ParseUint(digits, 10, 32)
	rest = strings.TrimPrefix(rest, digits)
	if of, is := strings.CutPrefix(rest, formatServer); is && err == nil {
		const idLength = 16
		if len(of) < idLength {
			return 0, 0, errFormat
		}
		if server, err = acl.ParseID(of[:idLength]); err == nil {
			rest = of[idLength:]
		}
	}
	switch {
	case !known || err != nil:
	case n > formatNumber:
		return 0, 0, fmt.Errorf("it has format %d and was written by a newer version of Fluxkeep: this one knows format %d", n, formatNumber)
	case digits != strconv.Itoa(formatNumber):
	case rest == "\n":
		return stateWhole, server, nil
	case rest == formatMaking+"\n":
		return stateMaking, server, nil
	case rest == formatRestoring+"\n":
		return 0, 0, errRestoring
	}
	return 0, 0, errFormat
}

var errFormat = fmt.Errorf("its file %s is damaged", formatName)

// begin creates the folder and marks it as incomplete.
func (d *dataDir) begin() error {
	if err := durable.MkdirAll(d.path); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if d.lock == nil {
		if err := d.enter(); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		if d.state != stateEmpty {
			return fmt.Errorf("make the data folder: %s: %w", d.path, ErrLocked) // another process was faster
		}
	}
	if err := d.writeFormat(formatMaking); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	d.state = stateMaking
	return nil
}

// finish marks the folder as complete.
func (d *dataDir) finish() error {
	if err := d.writeFormat(""); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	d.state = stateWhole
	return nil
}

func (d *dataDir) writeFormat(state string) error {
	return durable.ReplaceFile(d.file(formatName), []byte(formatStart+strconv.Itoa(formatNumber)+d.ofServer()+state+"\n"))
}

func (d *dataDir) ofServer() string {
	if d.server == 0 {
		return ""
	}
	return formatServer + d.server.String()
}

// checkKind makes sure that the folder belongs to the kind of store that c names.
func (d *dataDir) checkKind(c *config.Config) error {
	switch {
	case d.state == stateEmpty:
	case d.server != 0 && c.Store != config.StoreEtcd:
		return fmt.Errorf("open the data folder: %s belongs to a server whose data is in etcd: give --store etcd", d.path)
	case d.server == 0 && c.Store == config.StoreEtcd:
		return fmt.Errorf("open the data folder: %s holds data of its own: choose another folder for a server whose data is in etcd, and move the data with backup and restore", d.path)
	}
	return nil
}

// checkStore makes sure that a complete folder's store wasn't lost, since opening
// it would create an empty one.
func (d *dataDir) checkStore() error {
	if d.state != stateWhole || d.server != 0 {
		return nil
	}
	entries, err := os.ReadDir(d.file(storeName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open the data folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "LOCK" && e.Name() != "lost+found" {
			return nil
		}
	}
	return fmt.Errorf("open the data folder: %s is missing or empty: the data is lost or its disk is not mounted", d.file(storeName))
}

// hasKey reports whether the key-encryption key is in the folder.
func (d *dataDir) hasKey(c *config.Config) bool {
	if c.Key.Provider != seal.KindKeyFile {
		return false
	}
	path, err := filepath.Abs(c.KeyFile())
	return err == nil && strings.HasPrefix(path, d.path+string(filepath.Separator))
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }
