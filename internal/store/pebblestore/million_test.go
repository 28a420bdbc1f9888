package pebblestore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// TestMillion checks that a million small records take little memory and open
// fast, even after the process was killed.
func TestMillion(t *testing.T) {
	const env = "PEBBLESTORE_TEST_MILLION"
	if arg := os.Getenv(env); arg != "" {
		mode, dir, _ := strings.Cut(arg, ":")
		millionProcess(t, mode, dir)
		return
	}
	if testing.Short() || race.Enabled {
		t.Skip("takes long")
	}
	dir := filepath.Join(t.TempDir(), "db")
	for _, mode := range []string{"fill", "read", "kill", "read"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMillion$", "-test.v")
		cmd.Env = append(os.Environ(), env+"="+mode+":"+dir)
		out, err := cmd.CombinedOutput()
		if err != nil && mode != "kill" || strings.Contains(string(out), "FAIL") {
			t.Fatalf("%s: %v\n%s", mode, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "report:") {
				t.Logf("%s: %s", mode, strings.TrimSpace(strings.TrimPrefix(line, "report:")))
			}
		}
	}
}

func millionProcess(t *testing.T, mode, dir string) {
	start, used := time.Now(), processorTime(t)
	s := mustOpen(t, dir, nil)
	opened := time.Since(start)
	used = processorTime(t) - used
	const keys = 1_000_000
	switch mode {
	case "fill":
		fillStore(t, s, keys)
	case "read":
		for range 100_000 {
			storetest.MustView(t, s, func(r store.Reader) error {
				_, err := r.Get(benchKey(nil, rand.Uint64N(keys)))
				return err
			})
		}
	case "kill":
		fillStore(t, s, keys/2)
	}
	rss := residentBytes(t)
	m := s.Metrics()
	fmt.Printf("report: open %v (processor %v), resident %d MiB (peak %d MiB), disk %d MiB, %d layers\n",
		opened.Round(time.Millisecond), used.Round(time.Millisecond), rss["VmRSS"]>>20, rss["VmHWM"]>>20, m.DiskBytes>>20, m.Layers)
	if peak := rss["VmHWM"]; peak > 300<<20 {
		t.Errorf("%d MiB resident at peak", peak>>20)
	}
	if mode == "kill" {
		p, err := os.FindProcess(os.Getpid())
		must(t, err)
		_ = p.Kill()
		select {}
	}
}

// residentBytes returns the memory sizes that the kernel reports for this
// process.
func residentBytes(t *testing.T) map[string]int64 {
	b, err := os.ReadFile("/proc/self/status")
	must(t, err)
	sizes := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if kb, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB"); ok {
			n, err := strconv.ParseInt(kb, 10, 64)
			must(t, err)
			sizes[name] = n << 10
		}
	}
	return sizes
}
