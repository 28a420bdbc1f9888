package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
)

const maxCredential = 64 << 10

const hidden = "[hidden]"

// Credential returns a copy of a passphrase or a token whenever it is needed.
// A configuration with a Credential contains no secret, so it can be printed,
// and a token that is renewed in its file is picked up.
type Credential func(ctx context.Context) ([]byte, error)

// CredentialValue returns a known secret, such as the value of an environment
// variable.
func CredentialValue(secret []byte) Credential {
	secret = bytes.Clone(secret)
	return func(context.Context) ([]byte, error) { return bytes.Clone(secret), nil }
}

// CredentialFile reads a file each time, without a trailing newline. It
// refuses an empty file, and one that users other than the owner and the group
// can read.
func CredentialFile(path string) Credential {
	return func(context.Context) ([]byte, error) {
		b, err := readPrivateFile(path, 0o007, "o=", maxCredential)
		if err != nil {
			return nil, err
		}
		secret := bytes.TrimRight(b, "\r\n")
		if len(secret) == 0 {
			return nil, fmt.Errorf("read %s: the file is empty", path)
		}
		return secret, nil
	}
}

// String hides the secret, as do the methods below.
func (Credential) String() string { return hidden }

// GoString hides the secret.
func (Credential) GoString() string { return hidden }

// LogValue hides the secret.
func (Credential) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the secret.
func (Credential) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// readPrivateFile reads a small regular file. It refuses one with any of the
// forbidden permissions; change is the argument of chmod that removes them. The
// group may read root's files in any case, see privateTo.
func readPrivateFile(path string, forbidden os.FileMode, change string, limit int64) ([]byte, error) {
	// Check before opening: opening a pipe would wait for its other end.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of the open file, which cannot be swapped
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 && !privateTo(info) && runtime.GOOS != "windows" { // which has no such modes
		return nil, fmt.Errorf("read %s: %w (mode %04o): run chmod %s %s", path, errReadable, mode, change, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		clear(b)
		return nil, fmt.Errorf("read %s: the file is larger than %d bytes", path, limit)
	}
	return b, nil
}

var errReadable = errors.New("the file is accessible to other users")
