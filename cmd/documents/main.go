// Command documents writes what a .deb, an .rpm or an archive contains besides the
// program: manual pages, completions and a configuration file. All of it comes from the commands and the
// settings of the program itself.
//
//	go run ./cmd/documents VERSION TIME DIR
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/cli"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "documents:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: documents VERSION TIME DIR, with a time such as %s", time.RFC3339)
	}
	at, err := time.Parse(time.RFC3339, args[1])
	if err != nil {
		return err
	}
	files, err := documents(args[0], at)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(args[2], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// documents returns the files by name.
func documents(version string, at time.Time) (map[string][]byte, error) {
	files := map[string][]byte{"fluxkeep.toml": settingsFile(config.New().Flags())}
	root := cli.NewRootCommand()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"fluxkeep.bash": func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"_fluxkeep":     func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fluxkeep.fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
		"fluxkeep.ps1":  func(b *bytes.Buffer) error { return root.GenPowerShellCompletionWithDesc(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("completion %s: %w", name, err)
		}
		files["completions/"+name] = b.Bytes()
	}
	return files, addManuals(files, root, version, at)
}

// addManuals adds a page for a command and those below it, from their help.
func addManuals(files map[string][]byte, cmd *cobra.Command, version string, at time.Time) error {
	if cmd.HasParent() && !cmd.IsAvailableCommand() {
		return nil
	}
	var b bytes.Buffer
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	cmd.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &at, Source: "Fluxkeep " + version, Manual: "Fluxkeep"}
	if err := doc.GenMan(cmd, header, &b); err != nil {
		return fmt.Errorf("manual page %s: %w", name, err)
	}
	files["man/"+name+".1"] = b.Bytes()
	for _, c := range cmd.Commands() {
		if err := addManuals(files, c, version, at); err != nil {
			return err
		}
	}
	return nil
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
