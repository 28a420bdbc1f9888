package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// target is a system to build for.
type target struct {
	os, arch, arm string
	inImage       bool // whether the container image has it
}

var targets = []target{
	{os: "linux", arch: "amd64", inImage: true},
	{os: "linux", arch: "arm64", inImage: true},
	{os: "linux", arch: "arm", arm: "7"},
	{os: "darwin", arch: "arm64"},
	{os: "darwin", arch: "amd64"},
	{os: "windows", arch: "amd64"},
}

// String names a target as in file names: linux-armv7.
func (t target) String() string {
	name := t.os + "-" + t.arch
	if t.arm != "" {
		name += "v" + t.arm
	}
	return name
}

// suffix ends the names of programs.
func (t target) suffix() string {
	if t.os == "windows" {
		return ".exe"
	}
	return ""
}

// parseTargets finds targets by names such as linux/amd64.
func parseTargets(list string) ([]target, error) {
	var found []target
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(targets, func(t target) bool { return t.String() == strings.ReplaceAll(name, "/", "-") })
		if i < 0 {
			return nil, fmt.Errorf("there is no target %q; there are: %v", name, targets)
		}
		found = append(found, targets[i])
	}
	return found, nil
}

// program is a built program.
type program struct {
	target
	path string
}

// build builds the program from a folder with the sources.
func build(ctx context.Context, source string, p program) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", p.path, "./cmd/fluxkeep")
	cmd.Dir = source
	// A go.work or GOFLAGS of the person who builds must not change the result.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS="+p.os, "GOARCH="+p.arch, "GOARM="+p.arm, "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", p.target, err, out)
	}
	return nil
}
