//go:build unix

package server

import (
	"os"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

// TestAccessEtcd is TestAccess with the store in etcd. It tries every fifth row, and all
// of them nightly.
func TestAccessEtcd(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	step := 5
	if os.Getenv("FLUXKEEP_E2E_NIGHTLY") != "" {
		step = 1
	}
	beginning := newWorldIn(t, keeptest.Etcd(t))
	for protocol, rows := range table() {
		var some []access
		for i := 0; i < len(rows); i += step {
			some = append(some, rows[i])
		}
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			beginning.tryAll(t, some)
		})
	}
}
