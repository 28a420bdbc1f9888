package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
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
	// FS is the file system; OS() by default.
	FS FS
	// Reserve is the free space in bytes that Append leaves on the disk. 0
	// means DefaultReserve, less than 0 none.
	Reserve int64
}

// DefaultReserve is less than the store's: what can no longer be changed can
// still be read.
const DefaultReserve = 16 << 20

// Log appends to an audit log. Its methods may be called by several goroutines
// at once.
type Log struct {
	path     string // "" for a stream
	max      int64
	reserve  int64
	now      func() time.Time
	logger   *slog.Logger
	fs       FS
	pool     sync.Pool // of *request
	troubles [troubleKinds]trouble
	room     atomic.Int64 // bytes that could be written at the last look at the disk
	queue    queue
	stop     chan struct{} // ends watch
	stopOnce sync.Once

	warnings struct {
		sync.Mutex
		texts []string
	}

	// What follows belongs to the turn.
	closed     bool
	file       *handle
	head       Checkpoint // the last line written
	size       int64      // where the last line written ends
	synced     Checkpoint // the last line known to be durable
	syncedSize int64      // where it ends; 0 when it stands in an earlier file
	renamed    int        // counts the changes of the directory
	dirSynced  int        // those of them known to be durable
	unlooked   int64      // bytes written since a turn has looked at the disk
	half       bool       // there may be something behind size
	rotateAt   int64      // the size at which to rotate
	unsettled  []settling // the pending records in the log, in its order
	pending    []settling // the pending records of the last write
	// late has pending records that are in the log although their caller was
	// told that the log hangs, and which it will bring again.
	late map[ID]bool
	buf  []byte

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
		l.file = &handle{File: osFile{os.Stdout}}
		return l.start(), nil
	}
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("audit: open log: %w", err)
	}
	if info, err := l.fs.Stat(path); err == nil && !info.Mode().IsRegular() {
		if err := l.openStream(path); err != nil {
			return nil, fmt.Errorf("audit: open log: %w", err)
		}
		return l.start(), nil
	}
	l.path = path
	if err := l.openFile(); err != nil {
		return nil, fmt.Errorf("audit: open log: %w", err)
	}
	return l.start(), nil
}

// start begins to watch a log that is open.
func (l *Log) start() *Log {
	if l.stream() {
		l.room.Store(math.MaxInt64)
		if l.discards() {
			l.warn("the audit log is "+os.DevNull+": no access is recorded", "audit log discards what is written to it")
		}
	} else {
		l.checkSpace()
	}
	l.queue.head, l.queue.size = l.head, l.size
	go l.watch()
	return l
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
	if o.FS == nil {
		o.FS = OS()
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	l := &Log{
		max: o.MaxBytes, reserve: o.Reserve, now: o.Now, logger: o.Logger, fs: o.FS,
		rotateAt: o.MaxBytes, stop: make(chan struct{}), late: make(map[ID]bool),
	}
	l.pool.New = func() any { return &request{wake: make(chan bool, 1)} }
	return l
}

// Head returns the checkpoint of the last line written, which may not be durable
// yet. It waits for nobody.
func (l *Log) Head() Checkpoint {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.queue.head
}

// Size returns the size of the newest file, 0 for a stream.
func (l *Log) Size() int64 {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.queue.size
}

// stream reports whether the log is not a regular file.
func (l *Log) stream() bool { return l.path == "" }

// exclusive runs task while nobody else works on the file. When the log hangs,
// it returns while task may still run.
func (l *Log) exclusive(task func() error) error {
	return l.wait(&request{task: task, leave: true, wake: make(chan bool, 1)})
}

// Close syncs the log and closes it. Calls made afterwards return ErrClosed. A
// log that hangs is left as it is.
func (l *Log) Close() error {
	defer l.stopOnce.Do(func() { close(l.stop) })
	_, syncErr := l.Sync()
	if l.Hanging() {
		return syncErr
	}
	err := l.exclusive(func() error {
		if l.closed {
			return ErrClosed
		}
		l.closed = true
		if f, ok := l.file.File.(osFile); ok && f.File == os.Stdout {
			return nil
		}
		if err := l.file.close(); err != nil && syncErr == nil {
			return fmt.Errorf("audit: close log: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return syncErr
}
