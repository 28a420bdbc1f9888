package pebblestore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// How the engine's files are named.
const (
	manifestPrefix = "MANIFEST-"
	logSuffix      = ".log"
	tableSuffix    = ".sst"
	markerPrefix   = "marker."
)

// fileKind says how the engine uses a file.
type fileKind int

const (
	tableFile fileKind = iota // tables and all that can be written again
	logFile
	manifestFile
	markerFile
)

func kindOf(fs vfs.FS, path string) fileKind {
	switch base := fs.PathBase(path); {
	case strings.HasSuffix(base, logSuffix):
		return logFile
	case strings.HasPrefix(base, manifestPrefix):
		return manifestFile
	case strings.HasPrefix(base, markerPrefix):
		return markerFile
	}
	return tableFile
}

func logName(n uint64) string { return fmt.Sprintf("%06d%s", n, logSuffix) }

func logNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, logSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func isTable(name string) bool { return strings.HasSuffix(name, tableSuffix) }

func tableName(n uint64) string { return fmt.Sprintf("%06d%s", n, tableSuffix) }

func manifestName(n uint64) string { return fmt.Sprintf("%s%06d", manifestPrefix, n) }

func manifestNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, manifestPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// markerValue returns the value that a marker's file name tells about name,
// or "". The name is marker.<name>.<counter>.<value>.
func markerValue(file, name string) string {
	rest, ok := strings.CutPrefix(file, markerPrefix+name+".")
	if !ok {
		return ""
	}
	_, value, _ := strings.Cut(rest, ".")
	return value
}
