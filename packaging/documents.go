package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/cli"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// documents are the files beside the program, which are the same on all systems.
type documents struct {
	license, readme, changelog []byte
	manuals                    []file // name such as fluxkeep-secret-set.1
	completions                map[string][]byte
	settings                   []byte // the configuration file of packages
}

// file is a file in an archive.
type file struct {
	name    string
	content []byte
	mode    int64
}

// documents reads and makes the documents of the sources in a folder.
func (r *release) documents(source string) (*documents, error) {
	d := &documents{completions: map[string][]byte{}}
	for name, into := range map[string]*[]byte{"LICENSE": &d.license, "README.md": &d.readme, "CHANGELOG.md": &d.changelog} {
		b, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return nil, err
		}
		*into = b
	}
	root := cli.NewRootCommand()
	for shell, write := range map[string]func(*bytes.Buffer) error{
		"bash":       func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"zsh":        func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fish":       func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
		"powershell": func(b *bytes.Buffer) error { return root.GenPowerShellCompletionWithDesc(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("completion for %s: %w", shell, err)
		}
		d.completions[shell] = b.Bytes()
	}
	var err error
	if d.manuals, err = r.manuals(root); err != nil {
		return nil, err
	}
	d.settings = settingsFile(config.New().Flags())
	return d, nil
}

// manuals makes a page for each command, from its help.
func (r *release) manuals(root *cobra.Command) ([]file, error) {
	root.DisableAutoGenTag = true
	var pages []file
	var walk func(*cobra.Command) error
	walk = func(cmd *cobra.Command) error {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			return nil
		}
		var b bytes.Buffer
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &r.time, Source: "Fluxkeep " + r.version, Manual: "Fluxkeep"}
		if err := doc.GenMan(cmd, header, &b); err != nil {
			return fmt.Errorf("manual page %s: %w", name, err)
		}
		pages = append(pages, file{name + ".1", b.Bytes(), 0o644})
		for _, c := range cmd.Commands() {
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		return nil, err
	}
	slices.SortFunc(pages, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return pages, nil
}

// packaged are the settings that packages change.
var packaged = []struct{ name, value, why string }{
	{"http-bind-address", "127.0.0.1:8087", "8086 is InfluxDB's port. To serve other machines, use \":8087\" and TLS."},
	{"data-dir", "/var/lib/fluxkeep", ""},
	{"key-file", "/etc/fluxkeep/key", "Apart from the data. Keep a copy of this file: without it, nobody can read the data."},
}

const settingsHeader = `# Settings of the Fluxkeep server. "fluxkeep serve --help" describes them too.
# Environment variables such as FLUXKEEP_LOG_LEVEL, in /etc/default/fluxkeep, take
# precedence. After a change: systemctl restart fluxkeep

`

// settingsFile makes a configuration file with every setting. All that have their
// default are comments.
func settingsFile(flags *pflag.FlagSet) []byte {
	var b bytes.Buffer
	b.WriteString(settingsHeader)
	for _, s := range packaged {
		writeComment(&b, usageOf(flags.Lookup(s.name)))
		if s.why != "" {
			writeComment(&b, s.why)
		}
		fmt.Fprintf(&b, "%s = %q\n\n", s.name, s.value)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Hidden || slices.ContainsFunc(packaged, func(s struct{ name, value, why string }) bool { return s.name == f.Name }) {
			return
		}
		writeComment(&b, usageOf(f))
		fmt.Fprintf(&b, "#%s = %s\n\n", f.Name, tomlValue(f))
	})
	return append(bytes.TrimSpace(b.Bytes()), '\n')
}

// usageOf describes a setting in a sentence.
func usageOf(f *pflag.Flag) string {
	_, usage := pflag.UnquoteUsage(f)
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

func tomlValue(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool", "int", "float64":
		return f.DefValue
	}
	return fmt.Sprintf("%q", f.DefValue)
}

// writeComment writes a wrapped comment.
func writeComment(b *bytes.Buffer, text string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		if column == 0 || column+1+len(word) > 80 {
			if column > 0 {
				b.WriteByte('\n')
			}
			b.WriteString("#")
			column = 1
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	b.WriteByte('\n')
}
