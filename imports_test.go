// Package fluxkeep_test checks the direction of imports between packages.
package fluxkeep_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fluxkeep/fluxkeep/"

// layers lists, for each package, the project's packages that it may import
// outside its tests, directly or indirectly. Every package must be listed; a
// name that ends with ... matches all packages below it.
var layers = map[string][]string{
	"cmd/fluxkeep":                         {"..."},
	"cmd/documents":                        {"..."},
	"internal/cli":                         {"..."},
	"internal/cli/process":                 {},
	"internal/cli/profile":                 {},
	"internal/secretfile":                  {"internal/httpapi"},
	"internal/server":                      with(slices.Concat(domain, stores), "internal/config", "internal/datadir", "internal/influxv2", "internal/vaultkv", "internal/web", "internal/secretfile", "internal/httpapi", "internal/otlphttp"),
	"internal/config":                      {"internal/seal"},
	"internal/datadir":                     with(slices.Concat(domain, stores), "internal/config"),
	"internal/influxv2":                    with(domain, "internal/httpapi"),
	"internal/vaultkv":                     with(domain, "internal/httpapi"),
	"internal/web":                         with(domain, "internal/httpapi", "internal/secretfile"),
	"internal/httpapi":                     {},
	"internal/otlphttp":                    {},
	"internal/keep":                        {"internal/clock", "internal/secretmap", "internal/directory", "internal/record", "internal/errcode", "internal/gencache", "internal/acl", "internal/audit", "internal/backup", "internal/seal", "internal/store"},
	"internal/secretmap":                   {"internal/record", "internal/errcode", "internal/gencache", "internal/acl", "internal/seal", "internal/store"},
	"internal/directory":                   {"internal/record", "internal/errcode", "internal/gencache", "internal/acl", "internal/seal", "internal/store"},
	"internal/errcode":                     {},
	"internal/record":                      {"internal/gencache", "internal/acl", "internal/seal", "internal/store"},
	"internal/gencache":                    {},
	"internal/clock":                       {},
	"internal/backup":                      {},
	"internal/influxbolt":                  {"internal/acl"},
	"internal/vaultsource":                 {},
	"internal/durable":                     {},
	"internal/jsontext":                    {},
	"internal/failpoint":                   {"internal/audit", "internal/acl", "internal/store"},
	"internal/acl":                         {},
	"internal/audit":                       {"internal/acl"},
	"internal/seal":                        {},
	"internal/store":                       {},
	"internal/store/arena":                 {},
	"internal/store/group":                 {"internal/store", "internal/store/arena"},
	"internal/store/engine":                {"internal/store", "internal/store/arena", "internal/store/group", "internal/store/pebblestore/integrity"},
	"internal/store/pebblestore":           {"internal/store", "internal/store/arena", "internal/store/group", "internal/store/engine", "internal/store/pebblestore/integrity"},
	"internal/store/pebblestore/integrity": {"internal/store"},
	"internal/store/etcdstore":             {"internal/store", "internal/store/arena", "internal/store/group", "internal/store/engine", "internal/store/pebblestore/integrity"},
	"client":                               {},
}

// domain lists the packages that every user of the domain depends on.
var domain = []string{"internal/keep", "internal/clock", "internal/secretmap", "internal/directory", "internal/record", "internal/errcode", "internal/gencache", "internal/acl", "internal/audit", "internal/backup", "internal/seal", "internal/store"}

// stores lists the stores and what they consist of.
var stores = []string{"internal/store/pebblestore", "internal/store/etcdstore", "internal/store/pebblestore/integrity", "internal/store/engine", "internal/store/group", "internal/store/arena"}

func with(packages []string, more ...string) []string { return append(more, packages...) }

// anywhere lists the packages that every package may import.
var anywhere = []string{"internal/durable", "internal/jsontext"}

// direct lists the only packages that may import a package directly, so that
// no caller bypasses the gate in package keep.
var direct = map[string][]string{
	"internal/secretmap":                   {"internal/keep"},
	"internal/directory":                   {"internal/keep"},
	"internal/record":                      {"internal/keep", "internal/secretmap", "internal/directory"},
	"internal/store":                       {"internal/record", "internal/secretmap", "internal/keep", "internal/datadir", "internal/store/group", "internal/store/engine", "internal/store/pebblestore", "internal/store/pebblestore/integrity", "internal/store/etcdstore", "internal/failpoint"},
	"internal/store/pebblestore":           {"internal/datadir", "internal/server"},
	"internal/store/pebblestore/integrity": {"internal/store/pebblestore", "internal/store/engine"},
	"internal/store/etcdstore":             {"internal/datadir", "internal/server"},
	"internal/store/engine":                {"internal/store/pebblestore", "internal/store/etcdstore"},
	"internal/store/group":                 {"internal/store/pebblestore", "internal/store/etcdstore", "internal/store/engine"},
	"internal/store/arena":                 {"internal/store/group", "internal/store/engine"},
	"internal/seal":                        {"internal/record", "internal/secretmap", "internal/keep", "internal/config", "internal/datadir", "internal/cli"},
	"internal/audit":                       {"internal/keep", "internal/datadir", "internal/cli", "internal/failpoint"},
	"internal/backup":                      {"internal/keep", "internal/cli", "internal/datadir"},
	"internal/influxbolt":                  {"internal/cli"},
	"internal/failpoint":                   {}, // except in a build with the tag failpoints
	"internal/influxv2":                    {"internal/server"},
	"internal/vaultkv":                     {"internal/server"},
	"internal/web":                         {"internal/server"},
	"internal/server":                      {"internal/cli"},
	"internal/cli":                         {"cmd/fluxkeep", "cmd/documents"},
}

// onlyFile names the single file that may import a package: all other commands
// work without the server.
var onlyFile = map[string]string{"internal/server": "internal/cli/serve.go"}

// kits are the packages that only tests may import.
var kits = []string{"internal/keeptest", "internal/logtest", "internal/race", "internal/record/recordtest", "internal/store/storetest", "internal/store/etcdstore/etcdtest"}

type pkg struct {
	ImportPath    string
	GoFiles       []string
	Imports, Deps []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports,Deps", "./...", module+"client/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func ours(imports []string) (out []string) {
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module); ok {
			out = append(out, name)
		}
	}
	return out
}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) < len(layers) {
		t.Fatalf("only %d packages", len(packages))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		if len(p.GoFiles) == 0 || slices.Contains(kits, name) {
			continue
		}
		if isTool(name) {
			continue
		}
		allowed, known := layers[name]
		if !known {
			t.Errorf("package %s is missing from layers", name)
			continue
		}
		for _, dep := range ours(p.Deps) {
			if slices.Contains(kits, dep) {
				t.Errorf("%s imports the test kit %s", name, dep)
			} else if !slices.Contains(slices.Concat(allowed, anywhere), dep) && !slices.Contains(allowed, "...") {
				t.Errorf("%s must not depend on %s", name, dep)
			}
		}
		for _, dep := range ours(p.Imports) {
			if by, limited := direct[dep]; limited && !slices.Contains(by, name) {
				t.Errorf("%s must not import %s directly", name, dep)
			}
		}
	}
}

// TestClientHasNoDependencies makes sure that importing the client adds no other
// module to a program.
func TestClientHasNoDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-m", "all")
	cmd.Dir = "client"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != module+"client" {
		t.Errorf("the client's module graph contains other modules:\n%s", got)
	}
}

// TestOneUserOfGRPC keeps the program small: only the store on etcd uses gRPC, and
// not etcd's own client, but many SDKs depend on them.
func TestOneUserOfGRPC(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "google.golang.org/grpc") && name != "internal/store/etcdstore" {
				t.Errorf("%s imports %s", name, i)
			}
		}
		if slices.Contains(p.Deps, "go.etcd.io/etcd/client/v3") {
			t.Errorf("%s depends on etcd's client", name)
		}
		if name == "cmd/fluxkeep" {
			for _, d := range p.Deps {
				if strings.HasPrefix(d, "google.golang.org/grpc/xds") || d == "go.uber.org/zap" {
					t.Errorf("%s depends on %s", name, d)
				}
			}
		}
	}
}

func TestOneFileImports(t *testing.T) {
	for _, p := range list(t) {
		dir := strings.TrimPrefix(p.ImportPath, module)
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), path.Join(dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				imported := strings.TrimPrefix(strings.Trim(i.Path.Value, `"`), module)
				if only, limited := onlyFile[imported]; limited && path.Join(dir, name) != only {
					t.Errorf("%s/%s must not import %s: only %s may", dir, name, imported, only)
				}
			}
		}
	}
}

// isTool reports whether a package belongs to the benchmarks or the end-to-end
// tests. Nothing imports those.
func isTool(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"bench", "e2e", path.Clean(module)}, top)
}
