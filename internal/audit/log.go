package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrUnavailable says that the log could not be written, for want of space
	// or because the disk failed. The next Append tries again.
	ErrUnavailable = errors.New("audit: log can't be written")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("audit: log is closed")
	// ErrLocked says that another process writes this log.
	ErrLocked = errors.New("audit: log is in use by another process")
	// ErrCheckpoint says that a log does not hold the line that a checkpoint
	// pins: the log was cut, replaced, or is another one.
	ErrCheckpoint = errors.New("audit: log does not hold the line of the checkpoint")
)

// DefaultMaxBytes is the size at which a file is rotated.
const DefaultMaxBytes = 128 << 20

// Options of a Log. Nil is valid.
type Options struct {
	// MaxBytes is the size beyond which no line is added to a file, unless it
	// is the file's first. 0 means DefaultMaxBytes, less than 0 no limit.
	MaxBytes int64
	// Now gives the time in the names of rotated files; time.Now by default.
	Now func() time.Time
	// Logger is told what the operator must know; by default nobody is.
	Logger *slog.Logger
	// Hook is for tests: it is called at each Point, and its error fails the
	// step. It may be called with the log's locks held, and must not call the
	// log.
	Hook func(Point) error

	open func(path string, flag int) (file, error) // for tests
}

// Log appends to an audit log. Its methods may be called by several goroutines
// at once.
type Log struct {
	path    string // "" for a stream
	max     int64
	now     func() time.Time
	logger  *slog.Logger
	hook    func(Point) error
	open    func(path string, flag int) (file, error)
	pool    sync.Pool             // of *request
	trouble atomic.Pointer[error] // what Err returns

	// queue holds the callers of Append that wait for a writer. The writer is
	// one of them.
	queue struct {
		sync.Mutex
		first, last *request
		writing     bool
	}

	// mu guards the file and the chain. It is never held during a sync, except
	// in a rotation.
	mu         sync.Mutex
	closed     bool
	file       *handle
	head       Checkpoint // the last line written
	size       int64      // where the last line written ends
	synced     Checkpoint // the last line known to be durable
	syncedSize int64      // where it ends; 0 when it stands in an earlier file
	renamed    int        // counts the changes of the directory
	dirSynced  int        // those of them known to be durable
	half       bool       // there may be something behind size
	rotateAt   int64      // the size at which to rotate
	unsettled  []settling // the pending records in the log, in its order
	buf        []byte

	settle sync.Mutex // held by Settle
}

// settling is a pending record that is in the log, no further on than at seq.
type settling struct {
	id  ID
	seq uint64
}

// Open opens the log at path and continues its chain. The rest of a line that a
// crash cut short is removed; a file whose end is damaged in another way gives a
// *DamageError, and one that another process writes ErrLocked. A file that does
// not exist is created with mode 0600, and then the chain continues from the
// newest rotated file. A rotated file has path as its name with "-" or "." and a
// digit behind it, and no other file may be named so.
//
// The path "-" stands for standard output. That, and any path that is not a
// regular file, is a stream: it begins a chain of its own, is not rotated, and
// can be neither synced nor cut.
//
// On start [Log.Recover] comes next, before the first [Log.Append].
func Open(path string, opts *Options) (*Log, error) {
	l := newLog(opts)
	if path == "-" {
		l.file = &handle{file: osFile{os.Stdout}}
		return l, nil
	}
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("audit: open log: %w", err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return l, l.openStream(path)
	}
	l.path = path
	if err := l.openFile(); err != nil {
		return nil, fmt.Errorf("audit: open log: %w", err)
	}
	return l, nil
}

func newLog(opts *Options) *Log {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.open == nil {
		o.open = openFile
	}
	l := &Log{max: o.MaxBytes, now: o.Now, logger: o.Logger, hook: o.Hook, open: o.open}
	l.rotateAt = l.max
	l.pool.New = func() any { return &request{wake: make(chan bool, 1)} }
	return l
}

// Err returns nil while the log can be written, and otherwise an error that
// wraps ErrUnavailable. The log does not try again by itself: the next Append or
// Sync does. So a caller that refuses to act because of Err should append the
// record of that refusal, which is also what finds the disk mended.
func (l *Log) Err() error {
	if p := l.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// fail notes that the log can't be written, and returns what callers get.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	if l.trouble.Swap(&err) == nil {
		l.logger.Error("audit log can't be written", "path", l.path, "error", cause)
	}
	return err
}

// recovered notes that the log can be written.
func (l *Log) recovered() {
	if l.trouble.Load() != nil && l.trouble.Swap(nil) != nil {
		l.logger.Info("audit log can be written again", "path", l.path)
	}
}

// Head returns the checkpoint of the last line written, which may not be durable
// yet.
func (l *Log) Head() Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// stream reports whether the log is not a regular file.
func (l *Log) stream() bool { return l.path == "" }

// Close syncs the log and closes it. Calls made afterwards return ErrClosed.
func (l *Log) Close() error {
	_, syncErr := l.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.closed = true
	if f, ok := l.file.file.(osFile); ok && f.File == os.Stdout {
		return nil
	}
	if err := l.file.close(); err != nil && syncErr == nil {
		return fmt.Errorf("audit: close log: %w", err)
	}
	return syncErr
}
