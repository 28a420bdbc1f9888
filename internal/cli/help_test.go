package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files")

// commands returns all commands, each with a new root.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, child := range c.Commands() {
			if child.Name() != "help" {
				walk(child)
			}
		}
	}
	root := NewRootCommand()
	root.InitDefaultHelpFlag()
	walk(root)
	if len(all) < 30 {
		t.Fatalf("found only %d commands", len(all))
	}
	return all
}

// TestEveryCommandIsDocumented checks that every command has complete help.
func TestEveryCommandIsDocumented(t *testing.T) {
	for _, c := range commands(t) {
		path := c.CommandPath()
		switch {
		case c.Short == "" || c.Long == "" || c.Example == "":
			t.Errorf("%s has no short text, long text or example", path)
		case strings.HasSuffix(c.Short, ".") || utf8.RuneCountInString(c.Short) > 72:
			t.Errorf("%s: the short text must be one line without a full stop: %q", path, c.Short)
		case !strings.HasSuffix(strings.TrimSpace(c.Long), "."):
			t.Errorf("%s: the long text must be whole sentences", path)
		case !strings.Contains(c.Example, c.CommandPath()):
			t.Errorf("%s: the example does not show the command", path)
		}
		if !c.HasSubCommands() && c.RunE == nil {
			t.Errorf("%s does nothing", path)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no text", path, f.Name)
			}
			if f.Value.Type() != "bool" && strings.Count(f.Usage, "`") != 2 {
				t.Errorf("%s --%s does not say what its value is: %s", path, f.Name, f.Usage)
			}
		})
	}
}

var call = regexp.MustCompile(`\bfluxkeep ([^|>)&;\n]*)`)

// TestExamplesAreRight checks that the commands and flags of every command line in help
// exist, and that the number of arguments is allowed.
func TestExamplesAreRight(t *testing.T) {
	found := 0
	for _, c := range commands(t) {
		text := strings.ReplaceAll(c.Example, "\\\n", "")
		for _, m := range call.FindAllStringSubmatch(text, -1) {
			found++
			words := shellWords(m[1])
			cmd, args, err := NewRootCommand().Find(words)
			if err == nil {
				err = cmd.ParseFlags(args)
			}
			if err == nil && cmd.Args != nil {
				err = cmd.Args(cmd, cmd.Flags().Args())
			}
			if err == nil {
				err = cmd.ValidateFlagGroups()
			}
			if err != nil {
				t.Errorf("%s: fluxkeep %s: %v", c.CommandPath(), m[1], err)
			}
		}
	}
	if found < 50 {
		t.Errorf("found only %d calls in the examples", found)
	}
}

// shellWords splits a command line with simple quotes.
func shellWords(line string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	return words
}

// TestHelp compares the help of each command with testdata/help/COMMAND.txt.
// The flags of serve are the server's settings, which have their own tests.
func TestHelp(t *testing.T) {
	files := map[string]bool{}
	for _, c := range commands(t) {
		if c.Name() == "serve" {
			continue
		}
		file := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".txt"
		files[file] = true
		t.Run(c.CommandPath(), func(t *testing.T) {
			var b bytes.Buffer
			root := NewRootCommand()
			root.SetOut(&b)
			root.SetArgs(append(strings.Fields(c.CommandPath())[1:], "--help"))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(b.String(), "\n") {
				if utf8.RuneCountInString(line) > 110 {
					t.Errorf("line %d is too long for a terminal: %s", i+1, line)
				}
			}
			golden := filepath.Join("testdata", "help", file)
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("the help has changed; if that is intended, run go test ./internal/cli -run TestHelp -update\n%s", firstDifference(b.String(), string(want)))
			}
		})
	}
	found, err := os.ReadDir(filepath.Join("testdata", "help"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !files[f.Name()] {
			t.Errorf("testdata/help/%s belongs to no command", f.Name())
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer than the other"
}

// TestHelpKeepsTheOrder checks that help lists flags in the order of their definition.
func TestHelpKeepsTheOrder(t *testing.T) {
	for _, c := range []struct {
		command string
		flags   []string
	}{
		{"import influxdb", []string{"bolt-path", "apply", "json", "config", "data-dir"}},
		{"secret set", []string{"value", "file", "json", "quiet", "host", "token", "org", "org-id"}},
		{"secret", []string{"json", "quiet", "host", "token", "org", "org-id"}},
	} {
		var b bytes.Buffer
		root := NewRootCommand()
		root.SetOut(&b)
		root.SetArgs(append(strings.Fields(c.command), "--help"))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, f := range c.flags {
			i := strings.Index(b.String()[at:], " --"+f+" ")
			if i < 0 {
				t.Errorf("%s: --%s is not behind the one before it:\n%s", c.command, f, &b)
				break
			}
			at += i
		}
	}
}

func TestHelpLayout(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"one two", "one two"},
		{"  laid\n  out", "  laid\n  out"},
		{strings.Repeat("word ", 20), strings.TrimSpace(strings.Repeat("word ", 16)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 4))},
		{"ü" + strings.Repeat("é", 78) + " x", "ü" + strings.Repeat("é", 78) + "\nx"},
	} {
		if got := paragraphText(c.in); got != c.want {
			t.Errorf("%q is laid out as %q", c.in, got)
		}
	}
}
