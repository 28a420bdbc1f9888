package server

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// unread accepts nothing until it is read.
type unread struct {
	bytes.Buffer
	reader chan struct{}
}

func (u *unread) Write(p []byte) (int, error) { <-u.reader; return u.Buffer.Write(p) }

// TestOutputHoldsNobody logs to a pipe that isn't read until later.
func TestOutputHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &unread{reader: make(chan struct{})}
		c := config.New()
		out := newOutput(w, c)
		logger, _ := NewLogger(out, c)
		text := strings.Repeat("x", 1000)
		const lines = 5_000
		logger.Info(text)
		synctest.Wait() // until it is blocked in a write
		begin := time.Now()
		for range lines - 1 {
			logger.Info(text)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("the caller waited for %v", took)
		}
		dropped := out.dropped.Load()
		if dropped < lines/2 || dropped == lines {
			t.Errorf("%d of %d lines were dropped", dropped, lines)
		}
		close(w.reader)
		synctest.Wait()
		logger.Info("after")
		out.close()
		log := w.String()
		if n := strings.Count(log, text); n != lines-int(dropped) {
			t.Errorf("%d lines were written and %d dropped, of %d", n, dropped, lines)
		}
		for _, want := range []string{"lines of this log were dropped", "msg=after"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %q", want)
			}
		}
		if n := strings.Count(log, "\n"); n != lines-int(dropped)+2 {
			t.Errorf("the log has %d lines", n)
		}
	})
}

// TestOutputCloses checks that Close doesn't wait long for a stuck reader.
func TestOutputCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &unread{reader: make(chan struct{})}
		out := newOutput(w, config.New())
		if _, err := out.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		out.close()
		if took := time.Since(begin); took != outputEnd {
			t.Errorf("close took %v", took)
		}
		close(w.reader)
	})
}
