package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/cli/process"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
)

// The rules of output:
//
//   - Standard output has what was asked for, and nothing else: a table for
//     people, one document with --output json or yaml, one variable a line
//     with --output env, one ID or name a line with --quiet. It is the same
//     whether it is a terminal or not.
//   - Standard error has everything else: prompts, previews, progress, what was
//     done, warnings, errors. Unless the output is a table, only the last two.
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
	format format
	quiet  bool
}

// format is the form in which a command prints its result.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatEnv   format = "env"
)

// variables marks commands that support --output env, because their result is
// names with values. (An annotation of cobra's.)
const variables = "variables"

// addFlags adds the flags to a set of the command's.
func (o *output) addFlags(cmd *cobra.Command, fs *pflag.FlagSet) {
	o.addFormat(cmd, fs)
	o.addQuiet(cmd, fs, "print only IDs or names, one per line")
}

func (o *output) addQuiet(cmd *cobra.Command, fs *pflag.FlagSet, usage string) {
	fs.BoolVarP(&o.quiet, "quiet", "q", false, usage)
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	if fs.Lookup("output").Value == &o.format {
		cmd.MarkFlagsMutuallyExclusive("output", "quiet")
	}
}

// addFormat adds the flags for the format.
func (o *output) addFormat(cmd *cobra.Command, fs *pflag.FlagSet) {
	o.format = formatTable
	json := false
	if fs.Lookup("output") != nil { // it names a file
		fs.BoolVar(&json, "json", false, "print JSON")
	} else {
		fs.BoolVar(&json, "json", false, "print JSON, as --output json does")
		fs.Var(&o.format, "output", "`format` of the output: table, json, yaml or env")
		cmd.MarkFlagsMutuallyExclusive("json", "output")
		completeValues(cmd, "output", string(formatTable), string(formatJSON), string(formatYAML), string(formatEnv))
	}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if json {
			o.format = formatJSON
		}
		if _, ok := cmd.Annotations[variables]; o.format == formatEnv && !ok {
			return withHint(fmt.Errorf("the output of %q can't be variables", cmd.CommandPath()), "use --output table, json or yaml")
		}
		return nil
	}
}

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	switch v := format(strings.ToLower(s)); v {
	case formatTable, formatJSON, formatYAML, formatEnv:
		*f = v
		return nil
	}
	return errors.New("it is table, json, yaml or env")
}

// structured reports whether the output is for a program.
func (o *output) structured() bool { return o.format != formatTable }

// table has a row for each of what a command lists.
type table struct {
	header []string // nil for a list of properties, which needs none
	rows   [][]string
	ids    []string // what --quiet prints, one for each row
}

func (t *table) add(id string, cells ...string) {
	t.ids, t.rows = append(t.ids, id), append(t.rows, cells)
}

// print shows a table or, in another format, value.
func (o *output) print(cmd *cobra.Command, value any, t *table) error {
	w := cmd.OutOrStdout()
	switch {
	case o.structured():
		return o.printValue(cmd, value)
	case o.quiet:
		return printLines(w, t.ids)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if t.header != nil {
		fmt.Fprintln(tw, strings.Join(t.header, "\t"))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return tw.Flush()
}

// printValue prints a value in a format other than a table. A command that
// supports variables passes a map of names and values.
func (o *output) printValue(cmd *cobra.Command, value any) error {
	w := cmd.OutOrStdout()
	switch o.format {
	case formatYAML:
		return printYAML(w, value)
	case formatEnv:
		secrets, ok := value.(map[string]string)
		if !ok {
			return fmt.Errorf("the output of %q can't be variables", cmd.CommandPath())
		}
		return printEnv(w, secrets)
	}
	return printJSON(w, value)
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// printYAML prints the same fields as printJSON, in the same order.
func printYAML(w io.Writer, value any) error {
	var b bytes.Buffer
	if err := printJSON(&b, value); err != nil {
		return err
	}
	var doc yaml.Node // JSON as encoding/json writes it is YAML too
	if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil {
		return errors.New("the output can't be written as YAML") // the error may quote values
	}
	unquote(&doc)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return errors.Join(e.Encode(&doc), e.Close())
}

// unquote gives YAML that was read from JSON the layout of YAML.
func unquote(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		*n = *secretfile.YAMLText(n.Value)
	}
	for _, child := range n.Content {
		unquote(child)
	}
}

// printEnv prints variables, named as "fluxkeep run" names them, for a shell or
// a dotenv file. No spelling of a carriage return has the same meaning in both.
func printEnv(w io.Writer, secrets map[string]string) error {
	named, err := process.Variables("", secrets)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if strings.Contains(named[name], "\r") {
			return withHint(fmt.Errorf("the value of %s has a carriage return, which shells and dotenv files represent differently", name),
				`use --output json or yaml, or "fluxkeep run", which passes values unchanged`)
		}
	}
	text, err := secretfile.Append(nil, secretfile.Dotenv, named)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
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
	if !o.structured() && !o.quiet {
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

func megabytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

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
