package server

import (
	"bytes"
	"io"
	"log"
	"log/slog"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// NewLogger returns the configured logger and its level, which can be changed at
// any time.
func NewLogger(w io.Writer, c *config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: plainError}
	if c.LogFormat == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}

// plainError logs an error as its message. Otherwise the text handler formats it
// with %+v, and errors of the store's engine then print a stack trace with paths of
// the build machine.
func plainError(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}

// connectionLog receives net/http's messages about connections. Failed TLS
// handshakes are logged for debugging only, other problems as warnings.
func connectionLog(l *slog.Logger) *log.Logger { return log.New(connectionWriter{l}, "", 0) }

type connectionWriter struct{ logger *slog.Logger }

func (w connectionWriter) Write(p []byte) (int, error) {
	text := string(bytes.TrimSpace(p))
	if bytes.Contains(p, []byte("TLS handshake error")) {
		w.logger.Debug(text)
	} else {
		w.logger.Warn(text)
	}
	return len(p), nil
}
