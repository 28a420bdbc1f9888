package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// RewrapResult has the previous and the new key-encryption key of a data folder.
type RewrapResult struct {
	Before, After seal.Info
	NewKeyFile    string // the file that was created, "" for none
}

// Rewrap wraps the data keys of a stopped server's data folder, or of a store in etcd,
// with the key-encryption key that to names. The data doesn't change. A missing key
// file is created. The previous keyset is kept until a server has started with the new
// one. If Rewrap fails, the folder is unchanged.
func Rewrap(ctx context.Context, c, to *config.Config) (done RewrapResult, err error) {
	if c.Store == config.StoreEtcd {
		return rewrapEtcd(ctx, c, to)
	}
	dir, err := lockWhole(c)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	keys, err := openKeys(ctx, dir, c)
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil && done.NewKeyFile != "" && dir.checkKeyset(keys.wrapped) == nil {
			_ = os.Remove(done.NewKeyFile) // nothing is wrapped with it
		}
	}()
	wrapped, err := done.wrap(ctx, keys, to)
	if err != nil {
		return done, err
	}
	return done, dir.replaceKeyset(keys.wrapped, wrapped)
}

// wrap returns the data keys wrapped with the key-encryption key that to names, which
// it creates if it is a missing file.
func (r *RewrapResult) wrap(ctx context.Context, keys *openedKeys, to *config.Config) (wrapped []byte, err error) {
	if r.Before, err = seal.Describe(keys.wrapped); err != nil {
		return nil, err
	}
	if r.NewKeyFile, err = makeMissingKey(ctx, to); err != nil {
		return nil, err
	}
	if wrapped, err = wrapFor(ctx, keys.Keys, to); err != nil {
		return nil, err
	}
	r.After, err = seal.Describe(wrapped)
	return wrapped, err
}

// makeMissingKey creates the key file that c names, if it is missing, and returns
// its path.
func makeMissingKey(ctx context.Context, c *config.Config) (string, error) {
	if c.Key.Provider != seal.KindKeyFile {
		return "", nil
	}
	if _, missing, err := openProvider(ctx, c.SealConfig()); !missing {
		return "", err
	}
	if _, made, err := makeKeyFile(c.KeyFile()); err != nil || !made {
		return "", err
	}
	return c.KeyFile(), nil
}

// wrapFor wraps data keys with the key-encryption key that c names, and verifies
// that a new provider opens them.
func wrapFor(ctx context.Context, keys *seal.Keys, c *config.Config) ([]byte, error) {
	provider, err := seal.OpenProvider(ctx, c.SealConfig())
	if err != nil {
		return nil, err
	}
	wrapped, err := keys.Wrap(ctx, provider)
	if err != nil {
		return nil, providerError(provider, err)
	}
	again, err := unlock(ctx, wrapped, c.SealConfig())
	if err != nil {
		return nil, fmt.Errorf("try the new key-encryption key: %w", err)
	}
	if !again.Equal(keys) {
		return nil, errors.New("try the new key-encryption key: other data keys came out")
	}
	return wrapped, nil
}
