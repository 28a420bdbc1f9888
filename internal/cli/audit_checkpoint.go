package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/server"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
	"github.com/spf13/cobra"
)

// storeCheckpoint returns the checkpoint up to which the store vouches for the
// log, or nil when the store can't be asked: because a server has it open, or
// because the log lies here without it. It says which.
func storeCheckpoint(cmd *cobra.Command, o *output, c *server.Config) (*audit.Checkpoint, error) {
	at, err := readCheckpoint(cmd.Context(), c)
	switch {
	case errors.Is(err, store.ErrLocked):
		o.note(cmd, "A server is running on %s, so its store is not asked for a checkpoint.", c.DataDir)
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		o.note(cmd, "The store or its key is not at hand, so no checkpoint is compared: %v.", err)
		return nil, nil
	case err != nil:
		return nil, withHint(fmt.Errorf("ask the store for its checkpoint: %w", err), "copy the log elsewhere and give it with --audit-log and another --data-dir, to verify its chain alone")
	case at == (audit.Checkpoint{}):
		return nil, nil
	}
	return &at, nil
}

func readCheckpoint(ctx context.Context, c *server.Config) (at audit.Checkpoint, err error) {
	wrapped, err := os.ReadFile(filepath.Join(c.DataDir, "keyset.json"))
	if err != nil {
		return at, err
	}
	dir := filepath.Join(c.DataDir, "store")
	if _, err := os.Stat(dir); err != nil {
		return at, err // opening would make it
	}
	provider, err := seal.OpenProvider(ctx, keyConfig(c))
	if err != nil {
		return at, err
	}
	keys, err := seal.Load(ctx, wrapped, provider)
	if err != nil {
		return at, err
	}
	s, err := pebblestore.Open(dir, nil)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return keep.AuditCheckpoint(ctx, s, keys)
}

// keyConfig says where the key-encryption key is.
func keyConfig(c *server.Config) seal.Config {
	k := &c.Key
	file := k.File
	if file == "" {
		file = filepath.Join(c.DataDir, "key")
	}
	return seal.Config{
		Kind: k.Provider, KeyFile: file, Passphrase: seal.CredentialFile(k.PassphraseFile),
		Transit: seal.TransitConfig{
			Address: k.TransitAddress, Token: seal.CredentialFile(k.TransitTokenFile),
			Key: k.TransitKey, Mount: k.TransitMount, Namespace: k.TransitNamespace,
		},
		AWSKMS: seal.AWSKMSConfig{KeyARN: k.AWSKMSKey},
		GCPKMS: seal.GCPKMSConfig{Key: k.GCPKMSKey},
	}
}
