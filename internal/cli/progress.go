package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// progress is a line on a terminal that says how far something is. Nil shows nothing.
type progress struct {
	w     io.Writer
	shown time.Time
}

// progress returns nil where progress isn't shown.
func (o *output) progress(cmd *cobra.Command) *progress {
	w := cmd.ErrOrStderr()
	if o.structured() || o.quiet || !isTerminal(w) {
		return nil
	}
	return &progress{w: w}
}

// show replaces the line, unless it was replaced a moment ago. The last one stays.
func (p *progress) show(last bool, format string, args ...any) {
	if p == nil || !last && time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r"+format, args...)
	if last {
		fmt.Fprintln(p.w)
	}
}
