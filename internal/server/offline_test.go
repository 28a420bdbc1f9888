package server

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
)

func TestAuditCheckpoint(t *testing.T) {
	dir, _ := wholeFolder(t)
	at, err := datadir.AuditCheckpoint(t.Context(), testConfig(t, dir))
	if err != nil || at.Seq == 0 {
		t.Fatalf("checkpoint %v, %v", at, err)
	}
	if _, err := audit.Verify(t.Context(), filepath.Join(dir, "audit.log"), &at); err != nil {
		t.Error(err)
	}
	running := start(t, dir)
	if _, err := datadir.AuditCheckpoint(t.Context(), testConfig(t, dir)); !errors.Is(err, datadir.ErrLocked) {
		t.Errorf("while a server runs: %v", err)
	}
	running.stop(t)
	remove(t, filepath.Join(dir, "key"))
	if _, err := datadir.AuditCheckpoint(t.Context(), testConfig(t, dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the key: %v", err)
	}
	nothing := filepath.Join(t.TempDir(), "data")
	if _, err := datadir.AuditCheckpoint(t.Context(), testConfig(t, nothing)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without data: %v", err)
	}
	if len(snapshot(t, nothing)) > 0 {
		t.Error("the folder was made")
	}
}
