package server

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// Run runs a server until ctx ends or the process gets SIGTERM or an interrupt; a
// second signal ends it at once. SIGHUP reloads it. Its log goes to w.
func Run(ctx context.Context, c *config.Config, w io.Writer) error {
	out := newOutput(w, c)
	defer out.close()
	logger, level := NewLogger(out, c)

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()

	defer runtime.KeepAlive(ballast())

	s, err := startWith(ctx, c, logger, level, out)
	if err != nil {
		return err
	}
	if isTerminal(w) {
		_, _ = io.WriteString(out, s.firstSteps(ctx)) // never fails
	}
	s.notifySystemd("READY=1")
	for {
		select {
		case <-hangups:
			s.Reload()
			continue
		case err = <-s.Failed():
		case <-ctx.Done():
		}
		break
	}
	// From here on, a signal ends the process, as by default. That is always safe,
	// because every acknowledged change is durable.
	stop()
	s.notifySystemd("STOPPING=1")
	end, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	if serr := s.Shutdown(end); err == nil {
		err = serr
	}
	if err == nil {
		logger.Info("shut down")
	}
	return err
}

// ballast makes the garbage collector run less often: it runs when the heap has
// doubled, and a small heap doubles many times a second. The ballast counts as heap
// but is never touched, so it takes no physical memory.
func ballast() []byte { return make([]byte, 32<<20) }
