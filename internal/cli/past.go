package cli

import (
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func addUTC(cmd *cobra.Command, utc *bool) {
	cmd.Flags().BoolVar(utc, "utc", false, "show exact times, in UTC, instead of how long ago")
}

// formatPast formats a time for a column: how long ago it was or, with utc, exactly.
// An unknown time was before those that the server knows.
func formatPast(t, now time.Time, utc bool) string {
	switch {
	case t.IsZero():
		return "earlier"
	case utc:
		return formatTime(t)
	}
	const day = 24 * time.Hour
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{365 * day, "y"}, {30 * day, "mo"}, {day, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if n := now.Sub(t) / unit.d; n > 0 {
			return strconv.Itoa(int(n)) + unit.name + " ago"
		}
	}
	return "now"
}

// parseDuration reads a duration that isn't negative: also 30d or 2w.
func parseDuration(text string) (time.Duration, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, d >= 0
	}
	if text == "" {
		return 0, false
	}
	unit := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 63)
	if err != nil || unit == 0 || n > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// parseTime reads a time or a date.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
