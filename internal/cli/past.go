package cli

import (
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
	days := map[byte]time.Duration{'d': 1, 'w': 7}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 12)
	return time.Duration(n) * days * 24 * time.Hour, err == nil && days > 0
}
