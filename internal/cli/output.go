package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// The rules of output:
//
//   - Standard output has what was asked for, and nothing else: a table for
//     people, one JSON document with --json, one ID or name a line with
//     --quiet. It is the same whether it is a terminal or not.
//   - Standard error has everything else: prompts, previews, progress, what was
//     done, warnings, errors. With --json and --quiet only the last two.
//   - Progress is shown only where standard error is a terminal. There are no
//     colors.
//   - An error is one line, "fluxkeep: what went wrong". Commands that have a
//     server add "server: which, and which profile", and when there is something
//     to be done about it, "hint: what" follows.
//   - A value goes to a terminal only with --show. To a file or a pipe it goes
//     as it is, without a line break added.
//   - A name with characters that a terminal could take for commands is shown
//     in quotes there and in tables, and as it is elsewhere.
type output struct {
	json  bool
	quiet bool
}

// addFlags adds the flags to a set of the command's.
func (o *output) addFlags(cmd *cobra.Command, fs *pflag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print only IDs or names, one per line")
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
}

// table has a row for each of what a command lists.
type table struct {
	header []string
	rows   [][]string
	ids    []string // what --quiet prints, one for each row
}

func (t *table) add(id string, cells ...string) {
	t.ids, t.rows = append(t.ids, id), append(t.rows, cells)
}

// print shows a table, or value as JSON.
func (o *output) print(cmd *cobra.Command, value any, t *table) error {
	w := cmd.OutOrStdout()
	switch {
	case o.json:
		return printJSON(w, value)
	case o.quiet:
		return printLines(w, t.ids)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.header, "\t"))
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return tw.Flush()
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// orEmpty makes a list that JSON shows as one when there is nothing in it.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// printLines prints names as they are or, to a terminal, as they can be shown.
func printLines(w io.Writer, lines []string) error {
	var b strings.Builder
	for _, l := range lines {
		if isTerminal(w) {
			l = printable(l)
		}
		b.WriteString(l + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// note says what was done, to people.
func (o *output) note(cmd *cobra.Command, format string, args ...any) {
	if !o.json && !o.quiet {
		fmt.Fprintln(cmd.ErrOrStderr(), oneLine(fmt.Sprintf(format, args...)))
	}
}

func warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintln(cmd.ErrOrStderr(), "fluxkeep: "+oneLine(fmt.Sprintf(format, args...)))
}

// printable is a name as it can be shown: in quotes, when it has characters
// that can't.
func printable(name string) string {
	if strings.ContainsFunc(name, unprintable) {
		return strconv.QuoteToGraphic(name)
	}
	return name
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// oneLine is a message as it can be shown.
func oneLine(message string) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(message), "\n") {
		if i > 0 {
			b.WriteString("; ")
		}
		for _, r := range line {
			if unprintable(r) {
				r = '?'
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// refuseTerminal refuses to put values on a terminal.
func refuseTerminal(cmd *cobra.Command, show bool, what string) error {
	if show || !isTerminal(cmd.OutOrStdout()) {
		return nil
	}
	return withHint(errors.New(what+" is not shown on a terminal"),
		"add --show, or send it where it is needed: %s … | command", cmd.CommandPath())
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// count writes a number with its noun.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// some lists names, and says how many more there are.
func some(names []string, most int) string {
	shown := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		shown = append(shown, printable(n))
	}
	if more := len(names) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}
