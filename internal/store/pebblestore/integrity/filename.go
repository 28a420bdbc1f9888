package integrity

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names of the engine's files.
const (
	ManifestPrefix = "MANIFEST-"
	LogSuffix      = ".log"
	TableSuffix    = ".sst"
	MarkerPrefix   = "marker."
	// LockName is the store's own file that locks out other processes.
	LockName = "LOCK"
)

// Kind says how the engine uses a file.
type Kind int

// The kinds of files.
const (
	TableFile Kind = iota // tables and everything else that can be rewritten
	LogFile
	ManifestFile
	MarkerFile
)

// KindOf returns the kind of a file from its name.
func KindOf(fs vfs.FS, path string) Kind {
	switch base := fs.PathBase(path); {
	case strings.HasSuffix(base, LogSuffix):
		return LogFile
	case strings.HasPrefix(base, ManifestPrefix):
		return ManifestFile
	case strings.HasPrefix(base, MarkerPrefix):
		return MarkerFile
	}
	return TableFile
}

func logName(n uint64) string { return fmt.Sprintf("%06d%s", n, LogSuffix) }

// LogNumber returns the number in a log's name, and whether name is one.
func LogNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, LogSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func isTable(name string) bool { return strings.HasSuffix(name, TableSuffix) }

// TableName returns the name of a table.
func TableName(n uint64) string { return fmt.Sprintf("%06d%s", n, TableSuffix) }

func manifestName(n uint64) string { return fmt.Sprintf("%s%06d", ManifestPrefix, n) }

func manifestNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, ManifestPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// markerValue returns the value in the name of a marker file for name, or "".
// The format is marker.<name>.<counter>.<value>.
func markerValue(file, name string) string {
	rest, ok := strings.CutPrefix(file, MarkerPrefix+name+".")
	if !ok {
		return ""
	}
	_, value, _ := strings.Cut(rest, ".")
	return value
}
