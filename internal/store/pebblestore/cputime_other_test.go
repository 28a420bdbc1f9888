//go:build !unix

package pebblestore

import (
	"testing"
	"time"
)

// processorTime is not measured on this system.
func processorTime(testing.TB) time.Duration { return 0 }
