package datadir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// maxKeyset limits the size of a keyset file; seal has the exact limit.
const maxKeyset = 2 << 20

// openedKeys are data keys and the way they were unwrapped.
type openedKeys struct {
	*seal.Keys
	wrapped  []byte // the document that they came from
	provider seal.Provider
	config   seal.Config // to open the provider again
}

// openKeys opens the data keys of a complete folder. It changes nothing.
func openKeys(ctx context.Context, dir *dataDir, c *config.Config) (*openedKeys, error) {
	wrapped, err := dir.readKeyset()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the data folder: %s is missing: without it no data can be read%s", dir.file(keysetName), dir.previousHint())
	}
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	// Check this before using the key: no key opens a damaged document.
	if _, err := seal.Describe(wrapped); err != nil {
		return nil, fmt.Errorf("%s: %w%s", dir.file(keysetName), err, dir.previousHint())
	}
	keys, err := unlock(ctx, wrapped, c.SealConfig())
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, dir.previousHint())
	}
	return keys, nil
}

// unlock opens wrapped data keys with a key-encryption key.
func unlock(ctx context.Context, wrapped []byte, c seal.Config) (*openedKeys, error) {
	provider, missing, err := openProvider(ctx, c)
	if missing {
		return nil, &missingKeyError{c.KeyFile}
	}
	if err != nil {
		return nil, err
	}
	keys, err := seal.Load(ctx, wrapped, provider)
	if err != nil {
		return nil, providerError(provider, err)
	}
	return &openedKeys{keys, wrapped, provider, c}, nil
}

// openProvider opens a key-encryption key. missing says that its file doesn't exist.
func openProvider(ctx context.Context, c seal.Config) (p seal.Provider, missing bool, err error) {
	p, err = seal.OpenProvider(ctx, c)
	if c.Kind == seal.KindKeyFile && errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	return p, false, err
}

// missingKeyError says that a complete folder's key file is missing.
type missingKeyError struct{ path string }

func (e *missingKeyError) Error() string {
	return "the key file " + e.path + " is missing: without it no data can be read; if it was moved, give --key-file"
}

func (e *missingKeyError) Unwrap() error { return fs.ErrNotExist }

// ProviderError says that a service failed to wrap or unwrap the data keys. It
// doesn't mean that anything is wrong with them.
type ProviderError struct {
	Kind string // of the provider
	err  error
}

func (e *ProviderError) Error() string {
	return "the key-encryption key can't be used: " + e.err.Error()
}

func (e *ProviderError) Unwrap() error { return e.err }

// providerError is err, as a ProviderError if it comes from a service and says
// nothing about the data keys.
func providerError(p seal.Provider, err error) error {
	switch p.Kind() {
	case seal.KindKeyFile, seal.KindPassphrase:
		return err
	}
	for _, verdict := range []error{seal.ErrDamaged, seal.ErrWrongKey, seal.ErrNewerFormat} {
		if errors.Is(err, verdict) {
			return err
		}
	}
	return &ProviderError{p.Kind(), err}
}

func (d *dataDir) readKeyset() ([]byte, error) {
	info, err := os.Stat(d.file(keysetName))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyset {
		return nil, fmt.Errorf("%s is damaged: it has %d bytes", d.file(keysetName), info.Size())
	}
	return os.ReadFile(d.file(keysetName))
}

// replaceKeyset replaces the keyset old, which is saved as the previous one until a
// start has opened the new one. If it fails, either old is still in use or the new
// one is and old is the previous one.
func (d *dataDir) replaceKeyset(old, wrapped []byte) error {
	err := durable.ReplaceFile(d.file(previousName), old)
	if err == nil {
		err = durable.ReplaceFile(d.file(keysetName), wrapped)
	}
	if err != nil {
		if d.checkKeyset(old) == nil {
			_ = os.Remove(d.file(previousName))
		}
		return fmt.Errorf("write the keyset: %w", err)
	}
	return nil
}

// checkKeyset compares the keyset in the folder with the expected one.
func (d *dataDir) checkKeyset(want []byte) error {
	got, err := d.readKeyset()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing", d.file(keysetName))
	case err != nil:
		return err
	case !bytes.Equal(got, want):
		return fmt.Errorf("%s was changed by something else", d.file(keysetName))
	}
	return nil
}

// previousHint mentions the previous keyset, if it exists.
func (d *dataDir) previousHint() string {
	if _, err := os.Stat(d.file(previousName)); err != nil {
		return ""
	}
	return fmt.Sprintf("; the keyset from before its last change is %s", d.file(previousName))
}

// newKeys are the data keys of a first start, before it writes anything.
type newKeys struct {
	*openedKeys      // nil while the key file is missing
	saved       bool // by an earlier start that was interrupted
}

// prepareKeys creates the data keys of a new folder, or opens those of an
// interrupted start. It changes nothing, so without a usable key-encryption key
// nothing is created.
func prepareKeys(ctx context.Context, dir *dataDir, c *config.Config) (*newKeys, error) {
	sc := c.SealConfig()
	provider, missing, err := openProvider(ctx, sc)
	if err != nil {
		return nil, err
	}
	if wrapped, err := dir.readKeyset(); err == nil && dir.state == stateMaking {
		keys, err := unlock(ctx, wrapped, sc)
		if err != nil {
			return nil, fmt.Errorf("%w; %s comes from a first start that did not finish, and holds no data: remove it and start again", err, dir.path)
		}
		return &newKeys{keys, true}, nil
	}
	if missing {
		return &newKeys{}, nil
	}
	keys, err := createKeys(ctx, provider, sc)
	return &newKeys{openedKeys: keys}, err
}

func createKeys(ctx context.Context, provider seal.Provider, c seal.Config) (*openedKeys, error) {
	keys, wrapped, err := seal.Create(ctx, provider)
	if err != nil {
		return nil, providerError(provider, err)
	}
	return &openedKeys{keys, wrapped, provider, c}, nil
}

// write durably creates the folder, the keyset, and the key file if it is missing.
func (n *newKeys) write(ctx context.Context, dir *dataDir, c *config.Config) (*openedKeys, error) {
	if n.saved {
		return n.openedKeys, nil
	}
	if dir.state == stateEmpty {
		if err := dir.begin(); err != nil {
			return nil, err
		}
	}
	keys := n.openedKeys
	if keys == nil {
		provider, _, err := makeKeyFile(c.KeyFile())
		if err != nil {
			return nil, err
		}
		if keys, err = createKeys(ctx, provider, c.SealConfig()); err != nil {
			return nil, err
		}
	}
	if err := durable.ReplaceFile(dir.file(keysetName), keys.wrapped); err != nil {
		return nil, fmt.Errorf("write the keyset: %w", err)
	}
	return keys, nil
}

// makeKeyFile atomically creates a key file and opens it. If another process was
// faster, it opens that one's. A crash can leave a temporary file.
func makeKeyFile(path string) (p seal.Provider, made bool, err error) {
	temp := path + durable.TempSuffix + rand.Text()
	if _, err := seal.CreateKeyFile(temp); err != nil {
		return nil, false, err
	}
	defer os.Remove(temp)
	// A rename would replace the key that another process has made meanwhile. Not
	// every file system has links.
	err = os.Link(temp, path)
	faster := errors.Is(err, fs.ErrExist)
	if err != nil && !faster {
		err = os.Rename(temp, path)
	}
	if err == nil || faster {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, false, fmt.Errorf("make the key file: %w", err)
	}
	p, err = seal.OpenKeyFile(path)
	return p, !faster, err
}
