package pebblestore

import (
	"context"
	"fmt"
	"log/slog"
)

// engineLog passes Pebble's messages to the operator's log. Routine messages
// are logged at debug level.
type engineLog struct {
	log   *slog.Logger
	fatal func(error)
}

func (l engineLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("store engine: " + fmt.Sprintf(format, args...))
	}
}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Warn("store engine: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble would end the process. It stops the engine
// instead, which is then replaced.
func (l engineLog) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf("engine: "+format, args...))
}
