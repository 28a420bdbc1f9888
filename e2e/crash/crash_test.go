package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCrash is a short run for CI. The command does the same for hours.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute; skipped with -short")
	}
	c := config{
		program: filepath.Join(t.TempDir(), "fluxkeep"), dir: t.TempDir(), seed: rand.Uint64(),
		kills: 30, writers: 16, readers: 12, out: t.Output(),
	}
	if err := build(t.Context(), c.program, "failpoints"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c.out, "seed %d\n", c.seed)
	t.Run("kills", func(t *testing.T) {
		n := new(counts)
		if err := runKills(t.Context(), c, n); err != nil {
			t.Fatalf("seed %d: %v", c.seed, err)
		}
		t.Log(n)
		if n.kills < c.kills || n.atPlaces < c.kills/4 || n.acknowledged < c.kills || n.reads < c.kills || n.versions < c.kills || n.unanswered == 0 {
			t.Errorf("too few operations: %s", n)
		}
	})
	t.Run("disk", func(t *testing.T) {
		n := new(counts)
		if err := runDisk(t.Context(), c, n); err != nil {
			t.Fatalf("seed %d: %v", c.seed, err)
		}
		t.Log(n)
		if n.unavailable == 0 || n.acknowledged == 0 || n.reads == 0 {
			t.Errorf("too few operations: %s", n)
		}
	})
	t.Run("only with the tag", func(t *testing.T) { onlyWithTheTag(t, c.program) })
}

// onlyWithTheTag checks that a normal build has no failpoints, while a build
// with the tag dies at one.
func onlyWithTheTag(t *testing.T, tagged string) {
	plain := filepath.Join(t.TempDir(), "fluxkeep")
	if err := build(t.Context(), plain, ""); err != nil {
		t.Fatal(err)
	}
	for program, dies := range map[string]bool{plain: false, tagged: true} {
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("FLUXKEEP_FAILPOINTS")) != dies {
			t.Errorf("%s: has failpoints is not %t", program, dies)
		}
		s := &site{program: program, dir: filepath.Join(t.TempDir(), "data"), run: t.TempDir()}
		if err := s.arm("kill *"); err != nil {
			t.Fatal(err)
		}
		p, err := s.start(t.Context())
		if dies {
			if !errors.Is(err, errKilled) {
				t.Errorf("with the tag, start returns %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("without the tag: %v", err)
		}
		a := &api{url: p.url, http: newHTTP()}
		in := map[string]string{"username": "admin", "password": "a long password", "org": "first", "bucket": "b"}
		if err := a.do(t.Context(), "POST", "/api/v2/setup", in).in(nil); err != nil {
			t.Errorf("without the tag: %v", err)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestEnded checks how a server's end is reported.
func TestEnded(t *testing.T) {
	for script, want := range map[string]string{
		"kill -9 $$": "the server was killed", "exit 3": "exit status 3", "kill -15 $$": "signal: terminated",
	} {
		dir := t.TempDir()
		program := filepath.Join(dir, "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		s := &site{program: program, dir: dir, run: dir}
		if _, err := s.start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", script, err, want)
		}
	}
}
