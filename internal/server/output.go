package server

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

const (
	// maxOutput limits the lines that wait for the log's reader.
	maxOutput = 1 << 20
	// outputEnd limits the wait for the last lines to be written.
	outputEnd = time.Second
)

// output writes the server's log without making callers wait for its reader. Lines
// for which there is no room are dropped and counted.
type output struct {
	w       io.Writer
	notes   *slog.Logger // writes to w
	dropped atomic.Int64

	mu         sync.Mutex
	waiting    []byte
	unreported int64 // dropped lines that the log doesn't mention yet
	closed     bool
	wake       chan struct{}
	done       chan struct{} // closed when everything was written after close
}

func newOutput(w io.Writer, c *config.Config) *output {
	notes, _ := NewLogger(w, c)
	o := &output{w: w, notes: notes, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run()
	return o
}

// Write queues one line, or drops it.
func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	if len(o.waiting)+len(line) > maxOutput || o.closed {
		o.unreported++
		o.dropped.Add(1)
	} else {
		o.waiting = append(o.waiting, line...)
	}
	o.mu.Unlock()
	o.signal()
	return len(line), nil
}

func (o *output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *output) run() {
	defer close(o.done)
	var lines []byte
	for range o.wake {
		o.mu.Lock()
		lines, o.waiting = o.waiting, lines[:0]
		unreported, closed := o.unreported, o.closed
		o.unreported = 0
		o.mu.Unlock()
		if len(lines) > 0 {
			_, _ = o.w.Write(lines) // there is nowhere to report an error
		}
		if unreported > 0 {
			o.notes.Warn("lines of this log were dropped because nobody took them", "lines", unreported)
		}
		if closed {
			return
		}
	}
}

// close waits until everything is written, but gives up on a reader that is stuck.
func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
	select {
	case <-o.done:
	case <-time.After(outputEnd):
	}
}
