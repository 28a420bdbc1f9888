package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// describe returns facts about the machine and the programs.
func (b *bench) describe(ctx context.Context) []fact {
	facts := []fact{
		{"Processor", fmt.Sprintf("%s, %d cores", processor(), runtime.NumCPU())},
		{"Kernel", runtime.GOOS + "/" + runtime.GOARCH + " " + firstLine(os.ReadFile("/proc/sys/kernel/osrelease"))},
		{"Filesystem", filesystem(b.folder)},
		{"Go", runtime.Version()},
		{"Fluxkeep", firstLine(exec.CommandContext(ctx, b.fluxkeep, "version").Output())},
	}
	if b.influxd != "" {
		facts = append(facts, fact{"InfluxDB", firstLine(exec.CommandContext(ctx, b.influxd, "version").Output())})
	}
	if b.bao != "" {
		facts = append(facts, fact{"OpenBao", firstLine(exec.CommandContext(ctx, b.bao, "version").Output())})
	}
	wrk, _ := exec.CommandContext(ctx, "wrk", "--version").Output() // exits with status 1
	name, _, _ := strings.Cut(string(wrk), " Copyright")
	return append(facts, fact{"Load", name},
		fact{"Rounds", fmt.Sprintf("%d, of %v for each load", b.rounds, b.duration)})
}

func firstLine(out []byte, err error) string {
	if err != nil {
		return "unknown: " + err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// filesystem returns the type of the file system that contains a folder.
func filesystem(folder string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown"
	}
	kind := mountedAt(string(mounts), folder)
	if kind == "tmpfs" {
		return "tmpfs, which is memory: results for writes are meaningless; use -dir"
	}
	return kind
}

// mountedAt returns the file system type of the closest mount above a folder.
func mountedAt(mounts, folder string) string {
	kind, nearest := "unknown", ""
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		point := f[1]
		inside := point == "/" || folder == point || strings.HasPrefix(folder, point+"/")
		if inside && len(point) >= len(nearest) {
			kind, nearest = f[2], point
		}
	}
	return kind
}

// measureDisk measures how many times per second the idle disk can sync a
// small write.
func (b *bench) measureDisk(when string) error {
	f, err := os.Create(filepath.Join(b.folder, "disk"))
	if err != nil {
		return err
	}
	defer f.Close()
	n, block := 0, make([]byte, 512)
	begin := time.Now()
	for time.Since(begin) < min(b.duration, 2*time.Second) {
		if _, err := f.Write(block); err != nil {
			return err
		}
		if err := syncData(f); err != nil {
			return err
		}
		n++
	}
	rate := float64(n) / time.Since(begin).Seconds()
	b.say("the disk syncs %s %s the measurements", perSecond(rate), when)
	b.report.note("The idle disk synced 512 bytes appended to a file %s times per second %s the measurements.", number(rate), when)
	return os.Remove(f.Name())
}
