package server

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// tracedError prints a stack trace with %+v, like errors of the store's engine.
type tracedError string

func (e tracedError) Error() string { return string(e) }

func (e tracedError) Format(s fmt.State, verb rune) {
	_, _ = io.WriteString(s, string(e))
	if s.Flag('+') {
		_, _ = io.WriteString(s, "\n/build/path/commit.go:12")
	}
}

func TestLogHoldsNoStackTrace(t *testing.T) {
	for _, format := range []string{config.FormatText, config.FormatJSON} {
		c := config.New()
		c.LogFormat = format
		var b bytes.Buffer
		logger, _ := NewLogger(&b, c)
		logger.With("first", tracedError("broken")).WithGroup("g").Error("the store failed", "error", tracedError("no space"))
		if text := b.String(); strings.Contains(text, ".go") || !strings.Contains(text, "no space") || !strings.Contains(text, "broken") || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: logged %s", format, text)
		}
	}
}
