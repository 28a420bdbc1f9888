//go:build unix

package etcdstore

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// TestMillion measures how long a new server takes for its copy of as many
// records as FLUXKEEP_ETCD_RECORDS says, how long with its copy, and the memory.
func TestMillion(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("FLUXKEEP_ETCD_RECORDS"))
	if err != nil {
		t.Skip("only with FLUXKEEP_ETCD_RECORDS=1000000 or so")
	}
	c := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes=8589934592"}})
	o := options(t, c, newPrefix(), "a")
	a := mustOpen(t, o)
	begin := time.Now()
	const step = 100_000
	for i := 0; i < n; i += step {
		must(t, a.Update(t.Context(), func(tx store.Tx) error {
			value := make([]byte, 250)
			for j := range step {
				key := binary.BigEndian.AppendUint64([]byte("s"), uint64(i+j)*0x9e3779b97f4a7c15)
				if err := tx.Set(key, value); err != nil {
					return err
				}
			}
			return nil
		}))
		t.Logf("%d records after %v", i+step, time.Since(begin))
	}
	must(t, a.Close())
	measure := func(what string) {
		begin := time.Now()
		s := mustOpen(t, o)
		if got := valueOf(t, s, "none"); got != "" {
			t.Error(got)
		}
		runtime.GC()
		t.Logf("%s: first View after %v, %s", what, time.Since(begin), memory(t))
		must(t, s.Close())
	}
	measure("with its copy")
	o.Dir = t.TempDir()
	measure("without a copy")
}

// memory returns the process's resident memory.
func memory(t *testing.T) string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
