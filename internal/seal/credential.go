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

// Credential gives a passphrase or a token when it is asked for, and a copy each time. A configuration holds the way to
// the secret instead of the secret, so it can be printed, and a token that is renewed in its file is found there.
type Credential func(ctx context.Context) ([]byte, error)

// CredentialValue gives what is already known, such as the content of an environment variable.
func CredentialValue(secret []byte) Credential {
	secret = bytes.Clone(secret)
	return func(context.Context) ([]byte, error) { return bytes.Clone(secret), nil }
}

// CredentialFile reads a file each time, without the newline at its end. It refuses a file that is readable by others
// than its owner and group, and an empty one.
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

// String hides the secret, and so do the other methods.
func (Credential) String() string { return hidden }

// GoString hides the secret.
func (Credential) GoString() string { return hidden }

// LogValue hides the secret.
func (Credential) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the secret.
func (Credential) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// readPrivateFile reads a small regular file. It refuses one with any of the forbidden permissions; change is the argument
// of chmod that takes them away.
func readPrivateFile(path string, forbidden os.FileMode, change string, limit int64) ([]byte, error) {
	// Before opening: opening a pipe would wait for its other end.
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
	info, err := f.Stat() // of the open file, which no one can exchange
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 && runtime.GOOS != "windows" { // where modes mean nothing
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

var errReadable = errors.New("the file is open to other users")
