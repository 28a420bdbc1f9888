package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// maxKeyset bounds what is read as a keyset; seal has the exact limit.
const maxKeyset = 2 << 20

// openedKeys are the data keys, and the provider that wraps them.
type openedKeys struct {
	*seal.Keys
	provider seal.Provider
}

// openKeys opens the data keys of a whole folder. It changes nothing.
func openKeys(ctx context.Context, dir *dataDir, c *config.Config) (*openedKeys, error) {
	wrapped, err := readKeyset(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the data folder: %s is missing: without it no data can be read", dir.file(keysetName))
	}
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	// Before the key is asked for: no key opens a document that is damaged.
	if _, err := seal.Describe(wrapped); err != nil {
		return nil, fmt.Errorf("%s: %w", dir.file(keysetName), err)
	}
	return unlock(ctx, wrapped, c)
}

// unlock opens wrapped data keys with the key-encryption key that the
// configuration names.
func unlock(ctx context.Context, wrapped []byte, c *config.Config) (*openedKeys, error) {
	provider, err := seal.OpenProvider(ctx, c.SealConfig())
	if c.Key.Provider == seal.KindKeyFile && errors.Is(err, fs.ErrNotExist) {
		return nil, &missingKeyError{c.KeyFile()}
	}
	if err != nil {
		return nil, err
	}
	keys, err := seal.Load(ctx, wrapped, provider)
	if err != nil {
		return nil, err
	}
	return &openedKeys{keys, provider}, nil
}

// saveKeys makes changed data keys durable.
func saveKeys(ctx context.Context, dir *dataDir, keys *seal.Keys, provider seal.Provider) error {
	wrapped, err := keys.Wrap(ctx, provider)
	if err != nil {
		return err
	}
	if err := writeFile(dir.file(keysetName), wrapped); err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	return nil
}

// missingKeyError says that a whole folder's key file is not there.
type missingKeyError struct{ path string }

func (e *missingKeyError) Error() string {
	return "the key file " + e.path + " is missing: without it no data can be read; if it was moved, give --key-file"
}

func (e *missingKeyError) Unwrap() error { return fs.ErrNotExist }

func readKeyset(dir *dataDir) ([]byte, error) {
	info, err := os.Stat(dir.file(keysetName))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyset {
		return nil, fmt.Errorf("%s is damaged: it has %d bytes", dir.file(keysetName), info.Size())
	}
	return os.ReadFile(dir.file(keysetName))
}

// makeKeys makes the folder and its data keys, which are durable when it
// returns, or goes on where an earlier start was cut short. Whether there is a
// usable key-encryption key is found out first, so that without one nothing is
// made at all.
func makeKeys(ctx context.Context, dir *dataDir, c *config.Config) (*openedKeys, error) {
	provider, err := seal.OpenProvider(ctx, c.SealConfig())
	missing := c.Key.Provider == seal.KindKeyFile && errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if wrapped, err := readKeyset(dir); err == nil && dir.state == stateMaking {
		return goOn(ctx, dir, wrapped, provider)
	}
	var keys *seal.Keys
	var wrapped []byte
	if !missing {
		if keys, wrapped, err = seal.Create(ctx, provider); err != nil {
			return nil, err
		}
	}
	if dir.state == stateEmpty {
		if err := dir.begin(); err != nil {
			return nil, err
		}
	}
	if missing {
		if provider, err = makeKeyFile(c.KeyFile()); err != nil {
			return nil, err
		}
		if keys, wrapped, err = seal.Create(ctx, provider); err != nil {
			return nil, err
		}
	}
	if err := writeFile(dir.file(keysetName), wrapped); err != nil {
		return nil, fmt.Errorf("write the keyset: %w", err)
	}
	return &openedKeys{keys, provider}, nil
}

// goOn opens the data keys that a start made before it was cut short.
func goOn(ctx context.Context, dir *dataDir, wrapped []byte, provider seal.Provider) (*openedKeys, error) {
	err := fmt.Errorf("the key file is missing: %w", fs.ErrNotExist)
	if provider != nil {
		var keys *seal.Keys
		if keys, err = seal.Load(ctx, wrapped, provider); err == nil {
			return &openedKeys{keys, provider}, nil
		}
	}
	return nil, fmt.Errorf("%w; %s comes from a first start that did not end, and there is nothing in it: remove it and start again", err, dir.path)
}

// makeKeyFile makes a key file that is there whole or not at all. A crash can
// leave what it has begun, under another name.
func makeKeyFile(path string) (seal.Provider, error) {
	temp := path + newSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	key, err := seal.CreateKeyFile(temp)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	return key, nil
}
