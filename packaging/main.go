// Command packaging makes everything that a release publishes: programs in
// archives, Debian and RPM packages, a container image, a list of parts and
// checksums. ../release runs it.
//
// What it makes depends only on the commit and the version: it builds from a
// fresh clone of the commit, and every time in the results is the commit's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/semver"
)

const usage = `usage: release [flags] VERSION

Builds the release VERSION, such as 1.2.3, of the commit that is checked out, and
writes it to the folder dist.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	fs := flag.NewFlagSet("release", flag.ExitOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	source := fs.String("source", "..", "`folder` with the repository")
	dist := fs.String("dist", "../dist", "`folder` for the results; it must not exist or be empty")
	only := fs.String("targets", "", "`targets` to build, such as linux/amd64,darwin/arm64 (default all)")
	_ = fs.Parse(args) // ends the program on an error
	if fs.NArg() != 1 {
		fs.Usage()
		return errors.New("the version is missing")
	}
	r, err := newRelease(ctx, *source, fs.Arg(0))
	if err != nil {
		return err
	}
	chosen := targets
	if *only != "" {
		if chosen, err = parseTargets(*only); err != nil {
			return err
		}
	}
	return r.make(ctx, *dist, chosen, w)
}

// release is what all parts of a release have in common.
type release struct {
	version string // without the v
	commit  string
	time    time.Time // of the commit
	source  string    // the repository
}

// newRelease describes a release of a repository's commit. It refuses changes
// that are not committed, because they would not be in the release.
func newRelease(ctx context.Context, source, version string) (*release, error) {
	r := &release{version: strings.TrimPrefix(version, "v"), source: source}
	if v := "v" + r.version; !semver.IsValid(v) || semver.Canonical(v) != v {
		return nil, fmt.Errorf("%q is not a version such as 1.2.3 or 1.2.3-rc.1", version)
	}
	changes, err := output(ctx, source, "git", "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changes != "" {
		return nil, fmt.Errorf("there are changes that are not committed:\n%s", changes)
	}
	return r, r.describe(ctx)
}

// describe finds the commit and its time.
func (r *release) describe(ctx context.Context) error {
	text, err := output(ctx, r.source, "git", "log", "-1", "--format=%H %ct")
	if err != nil {
		return err
	}
	commit, seconds, _ := strings.Cut(text, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("read the time of the commit: %w", err)
	}
	r.commit, r.time = commit, time.Unix(unix, 0).UTC()
	return nil
}

// make builds the release for some targets.
func (r *release) make(ctx context.Context, dist string, chosen []target, w io.Writer) error {
	if err := emptyFolder(dist); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "fluxkeep-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	clone := filepath.Join(work, "source")
	if err := r.clone(ctx, clone); err != nil {
		return err
	}
	docs, err := r.documents(ctx, clone)
	if err != nil {
		return err
	}
	var built []program
	for _, t := range chosen {
		p := program{t, filepath.Join(work, t.String(), "fluxkeep"+t.suffix())}
		fmt.Fprintln(w, "build", t)
		if err := build(ctx, clone, p); err != nil {
			return err
		}
		built = append(built, p)
	}
	fmt.Fprintln(w, "pack")
	if err := r.pack(dist, built, docs); err != nil {
		return err
	}
	return checksums(filepath.Join(dist, "SHA256SUMS"))
}

// pack writes everything but the checksums.
func (r *release) pack(dist string, built []program, docs *documents) error {
	for _, p := range built {
		if err := r.writeArchive(dist, p, docs); err != nil {
			return fmt.Errorf("archive for %s: %w", p.target, err)
		}
		if p.os == "linux" {
			for _, format := range []string{"deb", "rpm"} {
				if err := r.writePackage(dist, format, p, docs); err != nil {
					return fmt.Errorf("%s for %s: %w", format, p.target, err)
				}
			}
		}
	}
	images := slices.DeleteFunc(slices.Clone(built), func(p program) bool { return !p.inImage })
	if len(images) > 0 {
		if err := r.writeImage(filepath.Join(dist, r.fileName("oci.tar")), images); err != nil {
			return fmt.Errorf("container image: %w", err)
		}
	}
	if len(built) > 0 {
		if err := r.writeParts(filepath.Join(dist, r.fileName("cdx.json")), built[0]); err != nil {
			return fmt.Errorf("list of parts: %w", err)
		}
	}
	return nil
}

func (r *release) fileName(rest string) string { return "fluxkeep-" + r.version + "-" + rest }

// clone makes a copy of the commit in a folder, with the version as its tag. The
// Go tool puts both into what it builds there.
func (r *release) clone(ctx context.Context, dir string) error {
	source, err := filepath.Abs(r.source)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clone", "--quiet", "--shared", "--no-checkout", source, dir},
		{"-C", dir, "checkout", "--quiet", "--detach", r.commit},
		{"-C", dir, "-c", "tag.gpgSign=false", "tag", "--force", "v" + r.version},
	} {
		if _, err := output(ctx, source, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

// emptyFolder makes a folder, which may be there already if it is empty.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: remove the last release first", dir)
	}
	return err
}

// output runs a command in a folder and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
