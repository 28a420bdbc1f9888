package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/spf13/cobra"
)

// storeCheckpoint returns the last checkpoint in the store. It returns nil and
// prints a note if a server has the store open or the store isn't available.
func storeCheckpoint(cmd *cobra.Command, o *output, c *config.Config) (*audit.Checkpoint, error) {
	at, err := datadir.AuditCheckpoint(cmd.Context(), c)
	switch {
	case errors.Is(err, datadir.ErrLocked):
		o.note(cmd, "A server is running on %s, so the log was not compared with its store.", c.DataDir)
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		o.note(cmd, "The store or its key is not available, so the log was not compared with it: %v.", err)
		return nil, nil
	case err != nil:
		return nil, withHint(fmt.Errorf("ask the store for its checkpoint: %w", err),
			"to verify the chain alone, give another --data-dir, and the log with --audit-log")
	case at == (audit.Checkpoint{}):
		return nil, nil
	}
	return &at, nil
}
