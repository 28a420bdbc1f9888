package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// documents are the files beside the program, which are the same on all systems.
type documents struct {
	license, readme, changelog []byte
	manuals                    []file // sorted, with names such as fluxkeep-secret-set.1
	completions                []file // sorted, with names such as fluxkeep.bash
	settings                   []byte // the configuration file of packages
}

// file is a file in an archive.
type file struct {
	name    string
	content []byte
	mode    int64
	owner   int // user and group
}

// documents makes the documents of the sources in a folder, with the sources' own
// command for that.
func (r *release) documents(ctx context.Context, source string) (*documents, error) {
	dir, err := os.MkdirTemp("", "fluxkeep-documents-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/documents", r.version, r.time.Format(time.RFC3339), dir)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	d := &documents{}
	for path, into := range map[string]*[]byte{
		filepath.Join(source, "LICENSE"): &d.license, filepath.Join(source, "README.md"): &d.readme,
		filepath.Join(source, "CHANGELOG.md"): &d.changelog, filepath.Join(dir, "fluxkeep.toml"): &d.settings,
	} {
		if *into, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	if d.manuals, err = filesIn(filepath.Join(dir, "man")); err != nil {
		return nil, err
	}
	d.completions, err = filesIn(filepath.Join(dir, "completions"))
	return d, err
}

// filesIn reads the files of a folder, sorted by name.
func filesIn(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: e.Name(), content: content, mode: 0o644})
	}
	return files, nil
}
