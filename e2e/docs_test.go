package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// A comment before a code block of a document says that the block is run here:
//
//	<!-- tried -->                   run it
//	<!-- tried with telegraf -->     run it if there is a telegraf
//	<!-- tried without influx -->    run it if there is no influx
//	<!-- tried, server 8087 -->      leave it running, and go on when it answers
//	<!-- tried, background m1 -->    leave it running
//	<!-- tried, stop m1 -->          stop the block with this name or port; no block follows
//	<!-- tried, again m1 -->         run that block again; no block follows
//	<!-- tried, file NAME -->        make a file of it
//
// One shell runs all blocks of a document in order, in a folder that contains the
// sources. Prompts are answered. A document with the comment
//
//	<!-- tried on a server -->
//
// starts with a server at the default address that is set up and has an organization
// called acme. A document with
//
//	<!-- tried beside an InfluxDB -->
//
// starts with the data of a stopped InfluxDB and its owner's profile.

const (
	onServer       = "<!-- tried on a server -->"
	besideInfluxDB = "<!-- tried beside an InfluxDB -->"
	answer         = "correct horse"
)

// block is a code block to run.
type block struct {
	line       int
	text       string
	needs      []string
	instead    []string // it is needed if one of these programs is missing
	background string   // its name, if it is left running
	port       string   // to wait for
	stop       string   // the name of a block to stop, instead of running a block
	file       string
}

var triedComment = regexp.MustCompile(`^<!-- tried((?: with \w+| without \w+|, with \w+|, server \d+|, background \w+|, stop \w+|, again \w+|, file \S+)*) -->$`)

// triedBlocks returns the blocks of a document to run.
func triedBlocks(t testing.TB, document string) []block {
	t.Helper()
	var blocks []block
	background := map[string]block{}
	lines := strings.Split(document, "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "<!-- tried") || lines[i] == onServer || lines[i] == besideInfluxDB {
			continue
		}
		m := triedComment.FindStringSubmatch(lines[i])
		if m == nil {
			t.Fatalf("line %d: unknown mark %s", i+1, lines[i])
		}
		b, again := block{line: i + 1}, ""
		for option := range strings.SplitSeq(strings.Trim(m[1], " ,"), ", ") {
			kind, value, _ := strings.Cut(option, " ")
			switch kind {
			case "with":
				b.needs = append(b.needs, value)
			case "without":
				b.instead = append(b.instead, value)
			case "server":
				b.port, b.background = value, value
			case "background":
				b.background = value
			case "stop":
				b.stop = value
			case "again":
				before := background[value]
				b.text, b.port, b.background, again = before.text, before.port, before.background, value
			case "file":
				b.file = value
			}
		}
		if name := cmp.Or(b.stop, again); name == "" {
			b.text, i = codeBlock(lines, i+1)
			if b.text == "" {
				t.Fatalf("line %d: no code block follows", b.line)
			}
			background[b.background] = b
		} else if background[name].text == "" {
			t.Fatalf("line %d: no block has the name %s", b.line, name)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// tried returns the first block to run under a heading of a document.
func tried(t *testing.T, page, heading string) string {
	t.Helper()
	_, section, _ := strings.Cut(readText(t, page), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := triedBlocks(t, section)
	if len(blocks) == 0 {
		t.Fatalf("%s has no block to run under %q", page, heading)
	}
	return blocks[0].text
}

// codeBlock returns the code block that starts at a line, or after empty lines, and
// its last line.
func codeBlock(lines []string, i int) (string, int) {
	for i < len(lines) && lines[i] == "" {
		i++
	}
	var text []string
	if i < len(lines) && strings.HasPrefix(lines[i], "```") {
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			text = append(text, lines[i])
		}
		return strings.Join(text, "\n"), i
	}
	for ; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], "    ")); i++ {
		text = append(text, strings.TrimPrefix(lines[i], "    "))
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n"), i - 1
}

// script joins the blocks whose programs are installed into one script.
func script(blocks []block, has func(program string) bool) (text string, skipped []block) {
	var s strings.Builder
	// Each job is its own process group, and ends with the script: the servers before what
	// they need. The script ends with the test, also if that is killed: what it left running
	// would have the ports of the next test.
	s.WriteString(`set -euo pipefail
watcher=$({ while kill -0 $PPID; do sleep 1; done; kill $$; } >/dev/null 2>&1 & echo $!)
set -m
stop() {
	for p; do kill -- -$p || true; done 2>/dev/null
	for p; do wait $p || true; done
}
servers=
trap 'trap "" PIPE; kill $watcher 2>/dev/null || true; stop $servers; stop $(jobs -p)' EXIT
`)
	for _, b := range blocks {
		if slices.ContainsFunc(b.needs, func(p string) bool { return !has(p) }) || slices.ContainsFunc(b.instead, has) {
			skipped = append(skipped, b)
			continue
		}
		fmt.Fprintf(&s, "echo '== line %d'\n", b.line)
		switch {
		case b.stop != "":
			fmt.Fprintf(&s, "stop $job_%s\n", b.stop)
		case b.file != "":
			fmt.Fprintf(&s, "cat > %s <<'END OF FILE'\n%s\nEND OF FILE\n", b.file, b.text)
		case b.background != "":
			// The subshell ends after what runs in it, so wait waits for that.
			fmt.Fprintf(&s, "{\ntrap : TERM\n%s\n} </dev/null &\njob_%s=$!\n", b.text, b.background)
		default:
			fmt.Fprintf(&s, "{\n%s\n} <<<%q\n", b.text, answer)
		}
		if b.port != "" {
			fmt.Fprintf(&s, "servers=\"$servers $!\"\nuntil curl -sf http://127.0.0.1:%s/api/v2/setup >/dev/null; do kill -0 $! && sleep 0.1; done\n", b.port)
		}
	}
	return s.String(), skipped
}

func TestDocuments(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("../README.md"); err == nil {
		pages = append(pages, "../README.md")
	}
	tried := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := triedBlocks(t, string(text))
		if len(blocks) == 0 {
			continue
		}
		tried++
		// Not in parallel: the pages use the same ports.
		t.Run(filepath.Base(page), func(t *testing.T) { tryPage(t, string(text), blocks) })
	}
	if tried < 4 {
		t.Errorf("only %d documents are tried", tried)
	}
}

func tryPage(t *testing.T, text string, blocks []block) {
	bash := find(t, "bash")
	for _, tool := range []string{"curl", "jq"} {
		find(t, tool)
	}
	ports := map[string]bool{"8086": true}
	for _, b := range blocks {
		ports[b.port] = true
	}
	delete(ports, "")
	for port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			unavailable(t, "the page's port is in use: %v", err)
		}
		_ = l.Close() // never used
	}
	home, bin := t.TempDir(), t.TempDir()
	has := programsIn(t, bin)
	if strings.Contains(text, onServer) {
		serveDefault(t, home)
	}
	if strings.Contains(text, besideInfluxDB) {
		leaveInfluxDB(t, home)
	}
	sources := sources(t, home)
	program, skipped := script(blocks, has)
	for _, b := range skipped {
		t.Logf("line %d is skipped: it needs %q without %q", b.line, b.needs, b.instead)
	}
	cmd := command(t, home, bash, "-c", program)
	// Let it stop what it has left running if a command waits for ever.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	defer time.AfterFunc(9*time.Minute, func() { _ = cmd.Cancel() }).Stop()
	cmd.Env = append(cmd.Env, sources...)
	// A busy machine takes longer than people who try a page.
	cmd.Env = append(cmd.Env, "ETCD_UNSAFE_NO_FSYNC=true", "ETCDCTL_COMMAND_TIMEOUT=30s", "ETCDCTL_DIAL_TIMEOUT=30s")
	cmd.Env = append(cmd.Env, "ETCD_LOG_LEVEL=error", "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%v after the last line above that begins with ==", err)
	}
}

// programsIn links the programs that documents use into a folder, and returns a
// function that reports whether one is installed.
func programsIn(t *testing.T, bin string) func(string) bool {
	t.Helper()
	link := func(name, path string) {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("fluxkeep", program)
	found := map[string]bool{}
	return func(name string) bool {
		if there, known := found[name]; known {
			return there
		}
		path := map[string]string{"influx": os.Getenv("FLUXKEEP_INFLUX_CLI"), "influxd": os.Getenv("FLUXKEEP_INFLUXD")}[name]
		switch name {
		case "telegraf":
			path = telegraf(t)
		case "etcd", "etcdctl", "etcdutl":
			path = etcdtest.Program(t, name)
		}
		if path != "" {
			link(name, path)
		} else if _, err := exec.LookPath(name); err != nil {
			found[name] = false
			return false
		}
		found[name] = true
		return true
	}
}

// sources links the sources into a folder, and returns the environment variables
// that Go needs to build them there.
func sources(t *testing.T, dir string) (env []string) {
	t.Helper()
	for _, name := range []string{"cmd", "internal", "client", "go.mod", "go.sum"} {
		path, err := filepath.Abs(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"GOCACHE", "GOENV", "GOMODCACHE", "GOPATH"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		env = append(env, names[i]+"="+value)
	}
	return env
}

// serveDefault runs a server at the default address, with a profile for it in the
// home folder.
func serveDefault(t *testing.T, home string) {
	t.Helper()
	s := startAt(t, "127.0.0.1:8086")
	s.user, s.password, s.org = "admin", answer, "acme"
	cmd := command(t, home, program, "setup", "--username", s.user, "--org", s.org)
	cmd.Stdin = strings.NewReader(s.password)
	output(t, cmd)
	if allowed, err := s.client("").SetupAllowed(t.Context()); err != nil || allowed {
		t.Fatalf("the server isn't set up: %v, %v", allowed, err)
	}
}

// leaveInfluxDB puts a bolt file that a real InfluxDB wrote, and its owner's
// profile, in their default places.
func leaveInfluxDB(t *testing.T, home string) {
	t.Helper()
	const files = "../internal/influxbolt/testdata/hashed-tokens"
	data, err := os.ReadFile(files + ".bolt")
	if err != nil {
		t.Fatal(err)
	}
	listing, err := os.ReadFile(files + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var has struct {
		Organizations []struct{ Name string }
		Tokens        []struct{ Token string }
	}
	if err := json.Unmarshal(listing, &has); err != nil {
		t.Fatal(err)
	}
	profile := fmt.Sprintf("[default]\n  url = \"http://localhost:8086\"\n  token = %q\n  org = %q\n  active = true\n", has.Tokens[0].Token, has.Organizations[0].Name)
	if err := os.Mkdir(filepath.Join(home, ".influxdbv2"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{filepath.Join(".influxdbv2", "influxd.bolt"): data, "configs": []byte(profile)} {
		if err := os.WriteFile(filepath.Join(home, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTriedBlocks checks that marked blocks are found.
func TestTriedBlocks(t *testing.T) {
	got := triedBlocks(t, strings.Join([]string{
		"# Title", "", "<!-- tried -->", "", "    one", "", "      two", "", "text", "", "    not this one", "",
		"<!-- tried with a, with b, server 8087 -->", "```sh", "three", "```", "<!-- tried, file x.conf -->", "    four", "<!-- tried, background e -->", "    five", "<!-- tried without a -->", "    six",
		"<!-- tried, stop e -->", "", "<!-- tried with a, again 8087 -->", "", "    nor this one",
	}, "\n"))
	want := []block{
		{line: 3, text: "one\n\n  two"},
		{line: 13, text: "three", needs: []string{"a", "b"}, port: "8087", background: "8087"},
		{line: 17, text: "four", file: "x.conf"},
		{line: 19, text: "five", background: "e"},
		{line: 21, text: "six", instead: []string{"a"}},
		{line: 23, stop: "e"},
		{line: 25, text: "three", needs: []string{"a"}, port: "8087", background: "8087"},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("found %+v\nwant %+v", got, want)
	}
	if _, skipped := script(got, func(p string) bool { return p == "a" }); len(skipped) != 2 || skipped[0].line != 13 || skipped[1].line != 21 {
		t.Errorf("skipped with a, without b: %+v", skipped)
	}
}
