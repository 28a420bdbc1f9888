package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// record is the part of an audit log line that matters here.
type record struct {
	Seq          uint64
	Prev         string
	ID           string
	Action       string
	Outcome      string
	Organization string
	Token        string
	Protocol     string
	Request      string
	Version      uint64
	Names        []string
	Removed      []string
	For          string // the server whose record this is, if another one took it over
	Count        int    // of a record that equal refusals share, else 0
}

func (r *record) String() string {
	return fmt.Sprintf("line %d of the audit log (%s, %s, version %d, request %s)", r.Seq, r.Action, r.Outcome, r.Version, r.Request)
}

// makesVersion reports whether the record is about a new version.
func (r *record) makesVersion() bool {
	return r.Outcome == "allowed" && (r.Action == "secrets.rollback" || r.Action == "secrets.write" && len(r.Names)+len(r.Removed) > 0)
}

// auditLog reads new lines of the log, continuing across rotated files.
type auditLog struct {
	path string
	seq  uint64
	hash string // the last line's hash

	files []*logFile // the files that were read and still exist, oldest first
	ids   [2]map[string]uint64
}

// logFile is a file that was read up to an offset. Its name can change, so it
// is identified by the file itself.
type logFile struct {
	info   os.FileInfo
	name   string
	offset int64
	checks int // number of checks since it was complete
}

func newAuditLog(path string) *auditLog {
	return &auditLog{path: path, hash: strings.Repeat("0", 2*sha256.Size), ids: [2]map[string]uint64{{}, {}}}
}

// read returns the records added since the last call. The server must not be
// writing to the log, but may rotate it.
func (l *auditLog) read() ([]*record, error) {
	opened, err := l.open()
	if err != nil {
		return nil, err
	}
	defer closeAll(opened)
	var all []*record
	var files []*logFile
	for _, file := range opened {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		f := &logFile{info: info}
		for _, known := range l.files {
			if os.SameFile(info, known.info) {
				f = known
			}
		}
		f.name = file.Name()
		files = append(files, f)
		records, err := l.readFile(f, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, records...)
	}
	l.files = files
	return all, nil
}

// open opens the log's files, oldest first. If the server rotates the log in the
// meantime, it opens them again.
func (l *auditLog) open() ([]*os.File, error) {
	for {
		names, err := l.names()
		if err != nil {
			return nil, err
		}
		var opened []*os.File
		same := true
		for _, name := range names {
			file, err := os.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				same = false
				break
			}
			if err != nil {
				closeAll(opened)
				return nil, err
			}
			opened = append(opened, file)
		}
		again, err := l.names()
		if err != nil {
			closeAll(opened)
			return nil, err
		}
		if same && slices.Equal(names, again) {
			return opened, nil
		}
		closeAll(opened)
	}
}

// names returns the paths of the log's files, oldest first.
func (l *auditLog) names() ([]string, error) {
	names, err := filepath.Glob(l.path + "-*")
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // the names contain the time
	if _, err := os.Stat(l.path); !errors.Is(err, fs.ErrNotExist) {
		names = append(names, l.path)
	}
	return names, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // only read
	}
}

// next ends a check. It removes files that have been complete for two checks,
// like an operator who archives them; otherwise a long run would fill the
// disk.
func (l *auditLog) next() error {
	l.ids[1], l.ids[0] = l.ids[0], map[string]uint64{}
	for len(l.files) > 1 {
		f := l.files[0]
		if f.checks++; f.checks < 3 {
			return nil
		}
		if err := os.Remove(f.name); err != nil {
			return err
		}
		l.files = l.files[1:]
	}
	return nil
}

func (l *auditLog) readFile(f *logFile, file *os.File) ([]*record, error) {
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return nil, err
	}
	var all []*record
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			if len(line) > 0 {
				return nil, fmt.Errorf("%d bytes after the last line", len(line))
			}
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		r := new(record)
		if err := json.Unmarshal(line, r); err != nil {
			return nil, fmt.Errorf("after line %d: %w", l.seq, err)
		}
		if err := l.follows(r); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(line)
		l.seq, l.hash = r.Seq, hex.EncodeToString(sum[:])
		f.offset += int64(len(line))
		all = append(all, r)
	}
}

// follows checks that a record is the next one, and not a duplicate.
func (l *auditLog) follows(r *record) error {
	if r.Seq != l.seq+1 {
		return fmt.Errorf("line %d follows line %d", r.Seq, l.seq)
	}
	if r.Prev != l.hash {
		return fmt.Errorf("line %d does not have the hash of the previous line", r.Seq)
	}
	for _, ids := range l.ids {
		if seq, twice := ids[r.ID]; twice {
			return fmt.Errorf("lines %d and %d are the same record", seq, r.Seq)
		}
	}
	l.ids[0][r.ID] = r.Seq
	return nil
}
