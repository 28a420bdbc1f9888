package server

import (
	"bytes"
	"io"
	"log"
	"log/slog"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// NewLogger returns the logger that the configuration asks for, and the level
// that it goes by, which can be changed while it is used.
func NewLogger(w io.Writer, c *config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: plainError}
	if c.LogFormat == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}

// plainError logs an error as its message. The text handler formats it with %+v
// otherwise, at which errors of the store's engine print a stack trace with
// paths of the machine that built the program.
func plainError(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}

// connectionLog takes what net/http has to say about connections. Clients that
// fail at TLS are of interest to few; that no more files can be opened, to all.
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
