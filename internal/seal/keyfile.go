package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	keyFileLabel    = "fluxkeep-key-"
	keyFileFormat   = "1"
	keyFileKeySize  = 32
	keyFileSumSize  = 4
	maxKeyFile      = 16 << 10
	keyFileTemplate = `# Fluxkeep key-encryption key %s. Anyone who has this file and the data can read every secret.
# Keep it off the data disk and apart from its backups, and keep a copy: without it no secret can be read again.
%s
`
)

// KeyFile is a provider with its key in a file.
type KeyFile struct {
	shown
	key *localKey
}

var _ Provider = (*KeyFile)(nil)

// CreateKeyFile creates a new key in a new file with mode 0600. When it
// returns, the file is durable. The error wraps fs.ErrExist if the name
// exists. A crash can leave a truncated file; OpenKeyFile detects it, and
// nothing has been sealed with its key.
func CreateKeyFile(path string) (*KeyFile, error) {
	master := make([]byte, keyFileKeySize)
	rand.Read(master) // never fails
	defer clear(master)
	k, err := newKeyFile(master)
	if err != nil {
		return nil, fmt.Errorf("create the key file: %w", err)
	}
	text := fmt.Appendf(nil, keyFileTemplate, k.key.id, keyLine(master))
	defer clear(text)
	if err := durable.WriteNewFile(path, text); err != nil {
		return nil, fmt.Errorf("create the key file: %w", err)
	}
	return k, nil
}

// OpenKeyFile reads a key file. It refuses a file that other users can access,
// and reports one that is truncated or mistyped (ErrDamaged) or of a newer
// format (ErrNewerFormat).
func OpenKeyFile(path string) (*KeyFile, error) {
	text, err := readPrivateFile(path, 0o077, "600", maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("open the key file: %w", err)
	}
	defer clear(text)
	master, err := parseKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("open the key file: read %s: %w", path, err)
	}
	defer clear(master)
	return newKeyFile(master)
}

func newKeyFile(master []byte) (*KeyFile, error) {
	key, err := newLocalKey(master)
	if err != nil {
		return nil, err
	}
	return &KeyFile{shown: shown{KindKeyFile + " key " + key.id}, key: key}, nil
}

// Kind returns KindKeyFile.
func (k *KeyFile) Kind() string { return KindKeyFile }

// Key returns the file's key.
func (k *KeyFile) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: k.key.id}, k.key, nil
}

// KeyFor returns the file's key if ref names it.
func (k *KeyFile) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != k.key.id {
		return nil, wrongKey(KindKeyFile+" key "+ref.ID, k.String())
	}
	return k.key, nil
}

// keyLine returns the line with the key: label and format, the key in
// hexadecimal, and a checksum of both. Hexadecimal can be read aloud and
// typed.
func keyLine(master []byte) string {
	return keyFileLabel + keyFileFormat + ":" + hex.EncodeToString(master) + ":" + hex.EncodeToString(keyLineSum(master))
}

func keyLineSum(master []byte) []byte {
	h := sha256.New()
	writeField(h, keyFileLabel+keyFileFormat)
	writeField(h, string(master))
	return h.Sum(nil)[:keyFileSumSize]
}

// parseKeyFile parses the text of a key file. Its errors contain none of the
// text.
func parseKeyFile(text []byte) ([]byte, error) {
	var line string
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case line != "":
			return nil, fmt.Errorf("%w: it has more than one line besides comments", ErrDamaged)
		default:
			line = l
		}
	}
	if line == "" {
		return nil, fmt.Errorf("%w: it has no key: the file is empty or truncated", ErrDamaged)
	}
	rest, ok := strings.CutPrefix(line, keyFileLabel)
	if !ok {
		return nil, fmt.Errorf("%w: it is not a key file: its line does not start with %s", ErrDamaged, keyFileLabel)
	}
	format, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return nil, fmt.Errorf("%w: the line with the key is truncated", ErrDamaged)
	}
	if format != keyFileFormat {
		if isNumber(format) {
			return nil, fmt.Errorf("the key file has format %.8s, but only format %s is known: %w", format, keyFileFormat, ErrNewerFormat)
		}
		return nil, fmt.Errorf("%w: the key file has no valid format", ErrDamaged)
	}
	digits, sum, ok := strings.Cut(rest, ":")
	if !ok || len(digits) < 2*keyFileKeySize || len(sum) < 2*keyFileSumSize {
		return nil, fmt.Errorf("%w: the line with the key is truncated", ErrDamaged)
	}
	master, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: the key has a character that is not a hexadecimal digit", ErrDamaged)
	}
	if len(master) != keyFileKeySize {
		return nil, fmt.Errorf("%w: the key is too long", ErrDamaged)
	}
	given, err := hex.DecodeString(sum)
	if err != nil || !bytes.Equal(given, keyLineSum(master)) {
		return nil, fmt.Errorf("%w: the checksum does not match the key; check for typing errors", ErrDamaged)
	}
	return master, nil
}

func isNumber(s string) bool {
	return s != "" && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}
