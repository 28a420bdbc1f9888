package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth fits on any terminal and is readable on a wide one.
const helpWidth = 80

// showHelp prints a command's description and usage.
func showHelp(cmd *cobra.Command, _ []string) {
	var b strings.Builder
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(about), "\n\n") {
		b.WriteString(paragraphText(paragraph) + "\n\n")
	}
	writeUsage(&b, cmd)
	_, _ = io.WriteString(cmd.OutOrStdout(), b.String())
}

// showUsage prints a command's usage.
func showUsage(cmd *cobra.Command) error {
	var b strings.Builder
	writeUsage(&b, cmd)
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

func writeUsage(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "Usage: %s\n", cmd.UseLine())
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(b, "Also:  %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				writeEntry(b, "  "+c.Name(), c.NamePadding()+4, c.Short)
			}
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(b, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	writeFlags(b, "Flags", cmd.LocalFlags(), cmd.PersistentFlags())
	writeFlags(b, "Flags for all below "+groupName(cmd), cmd.PersistentFlags())
	writeFlags(b, "Flags for all below "+groupName(cmd), cmd.InheritedFlags())
}

// groupName returns the top-level command whose flags cmd inherits.
func groupName(cmd *cobra.Command) string {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	return fmt.Sprintf("%q", cmd.CommandPath())
}

// writeFlags writes the flags of a set that are not in another one.
func writeFlags(b *strings.Builder, title string, flags *pflag.FlagSet, without ...*pflag.FlagSet) {
	type entry struct{ left, right string }
	var entries []entry
	width := 0
	flags.SortFlags = false // cobra builds a separate set for inherited flags
	flags.VisitAll(func(f *pflag.Flag) {
		for _, w := range without {
			if w.Lookup(f.Name) != nil {
				return
			}
		}
		if f.Hidden || f.Deprecated != "" {
			return
		}
		left, right := flagText(f)
		entries = append(entries, entry{left, right})
		width = max(width, len(left))
	})
	if len(entries) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, e := range entries {
		writeEntry(b, e.left, width+2, e.right)
	}
}

// flagText returns a flag's syntax and its description.
func flagText(f *pflag.Flag) (left, right string) {
	left = "      --" + f.Name
	if f.Shorthand != "" {
		left = "  -" + f.Shorthand + ", --" + f.Name
	}
	value, right := pflag.UnquoteUsage(f)
	if f.Value.Type() == "bool" {
		return left, right
	}
	if value != "" {
		left += " " + value
	}
	switch f.DefValue {
	case "", "0", "[]", "0s":
	default:
		if !strings.Contains(right, "(default") {
			right += " (default " + f.DefValue + ")"
		}
	}
	return left, right
}

// writeEntry writes two columns.
func writeEntry(b *strings.Builder, left string, width int, right string) {
	indent := strings.Repeat(" ", width)
	text := wrapped(right, helpWidth-width)
	fmt.Fprintf(b, "%-*s%s\n", width, left, strings.ReplaceAll(text, "\n", "\n"+indent))
}

// paragraphText wraps a paragraph, unless it is laid out by hand.
func paragraphText(p string) string {
	for line := range strings.Lines(p) {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			return p
		}
	}
	return wrapped(p, helpWidth)
}

func wrapped(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
