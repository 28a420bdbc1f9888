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
	// ErrUnavailable means that the log could not be written, because the disk
	// is full or has failed. The next Append tries again.
	ErrUnavailable = errors.New("audit: log cannot be written")
	// ErrClosed means that the log was closed.
	ErrClosed = errors.New("audit: log is closed")
	// ErrLocked means that another process is writing this log.
	ErrLocked = errors.New("audit: log is in use by another process")
	// ErrCheckpoint means that a log does not contain a checkpoint's line: the
	// log was truncated or replaced, or it is a different log.
	ErrCheckpoint = errors.New("audit: log does not contain the checkpoint's line")
)

// DefaultMaxBytes is the default of Options.MaxBytes.
const DefaultMaxBytes = 128 << 20

// Options configure a Log. Nil is valid.
type Options struct {
	// MaxBytes is the size at which a file is rotated, unless it has only one
	// line. 0 means DefaultMaxBytes; a negative value means no limit.
	MaxBytes int64
	// Now returns the time for the names of rotated files; the default is
	// time.Now.
	Now func() time.Time
	// Logger receives problems that need an operator; by default they are
	// discarded.
	Logger *slog.Logger
	// FS is the file system; the default is OS().
	FS FS
	// Reserve is the number of bytes that Append leaves free on the disk. 0
	// means DefaultReserve; a negative value means none.
	Reserve int64
}

// DefaultReserve is less than the store's reserve, so that values can be read
// for longer than they can be changed.
const DefaultReserve = 16 << 20

// Log appends to an audit log. Its methods are safe for concurrent use.
type Log struct {
	path     string // "" for a stream
	max      int64
	reserve  int64
	now      func() time.Time
	logger   *slog.Logger
	fs       FS
	pool     sync.Pool // of *request
	troubles [troubleKinds]trouble
	room     atomic.Int64 // writable bytes at the last check of the disk
	queue    queue
	stop     chan struct{} // ends watch
	stopOnce sync.Once

	warnings struct {
		sync.Mutex
		texts []string
	}

	// The fields below belong to the holder of the turn.
	closed     bool
	file       *handle
	head       Checkpoint // the last line written
	size       int64      // where the last line written ends
	synced     Checkpoint // the last line known to be durable
	syncedSize int64      // where it ends; 0 if it is in an earlier file
	renamed    int        // number of changes to the directory
	dirSynced  int        // number of those known to be durable
	unlooked   int64      // bytes written since the last check of the disk
	half       bool       // there may be a partial line after size
	rotateAt   int64      // the size at which to rotate
	unsettled  []settling // the pending records in the log, in its order
	pending    []settling // the pending records of the last write
	// late has pending records that are in the log although their caller got
	// errHanging. The caller will append them again.
	late map[ID]bool
	buf  []byte

	settle sync.Mutex // held by Settle
}

// settling is a pending record that is in the log, at line seq or before.
type settling struct {
	id  ID
	seq uint64
}

// Open opens the log at path and continues its chain. It removes a line that a
// crash left incomplete. A file whose end is damaged in another way causes a
// *DamageError, and one that another process is writing causes ErrLocked. If
// the file does not exist, Open creates it with mode 0600 and continues the
// chain from the newest rotated file. The name of a rotated file is path
// followed by "-" or "." and a digit; no other file may have such a name.
//
// The path "-" means standard output. That and any path that is not a regular
// file is a stream: it starts its own chain, is not rotated, and can be
// neither synced nor truncated.
//
// Call [Log.Recover] before the first [Log.Append].
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

// start starts watching an open log.
func (l *Log) start() *Log {
	if l.stream() {
		l.room.Store(math.MaxInt64)
		if l.discards() {
			l.warn("the audit log is "+os.DevNull+": no access is recorded", "audit log discards its records")
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

// Head returns the checkpoint of the last line written, which may not be
// durable yet. It never blocks.
func (l *Log) Head() Checkpoint {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.queue.head
}

// Size returns the size of the newest file, or 0 for a stream.
func (l *Log) Size() int64 {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.queue.size
}

// stream reports whether the log is not a regular file.
func (l *Log) stream() bool { return l.path == "" }

// exclusive runs task while nothing else uses the file. If the log hangs, it
// returns while task may still be running.
func (l *Log) exclusive(task func() error) error {
	return l.wait(&request{task: task, leave: true, wake: make(chan bool, 1)})
}

// Close syncs and closes the log. Later calls return ErrClosed. It does not
// wait for a log that hangs.
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
