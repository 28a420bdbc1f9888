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
	keyFileTemplate = `# Fluxkeep key-encryption key %s. Whoever has this file and the data can read every secret.
# Keep it off the data disk and apart from its backups, and keep a copy: without it no secret can be read again.
%s
`
)

// KeyFile is the provider that has its key in a file.
type KeyFile struct {
	shown
	key *localKey
}

var _ Provider = (*KeyFile)(nil)

// CreateKeyFile makes a new key in a new file with mode 0600. It returns when the file is durable, and fs.ErrExist
// (wrapped) when there is a file of that name. A crash in between can leave a file that is cut; OpenKeyFile says so, and
// nothing has been sealed with it.
func CreateKeyFile(path string) (*KeyFile, error) {
	master := make([]byte, keyFileKeySize)
	rand.Read(master) // never fails: it ends the process instead
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

// OpenKeyFile reads a key file. It refuses one that is open to other users, and says what is wrong with one that is cut
// or mistyped (ErrDamaged) or of a newer format (ErrNewerFormat).
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

// Kind is KindKeyFile.
func (k *KeyFile) Kind() string { return KindKeyFile }

// Key returns the file's key.
func (k *KeyFile) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: k.key.id}, k.key, nil
}

// KeyFor returns the file's key if it is the one that ref names.
func (k *KeyFile) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != k.key.id {
		return nil, wrongKey(KindKeyFile+" key "+ref.ID, k.String())
	}
	return k.key, nil
}

// keyLine is the line with the key: label and format, the key in hexadecimal, and a checksum of both. Hexadecimal because
// it survives being read aloud and typed.
func keyLine(master []byte) string {
	return keyFileLabel + keyFileFormat + ":" + hex.EncodeToString(master) + ":" + hex.EncodeToString(keyLineSum(master))
}

func keyLineSum(master []byte) []byte {
	h := sha256.New()
	writeField(h, keyFileLabel+keyFileFormat)
	writeField(h, string(master))
	return h.Sum(nil)[:keyFileSumSize]
}

// parseKeyFile finds the key in the text of a key file. Its errors show none of the text.
func parseKeyFile(text []byte) ([]byte, error) {
	var line string
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case line != "":
			return nil, fmt.Errorf("%w: there is more than one line that is not a comment", ErrDamaged)
		default:
			line = l
		}
	}
	if line == "" {
		return nil, fmt.Errorf("%w: there is no key in it; the file is empty or cut", ErrDamaged)
	}
	rest, ok := strings.CutPrefix(line, keyFileLabel)
	if !ok {
		return nil, fmt.Errorf("%w: this is not a key file: its line does not begin with %s", ErrDamaged, keyFileLabel)
	}
	format, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return nil, fmt.Errorf("%w: the line with the key is cut", ErrDamaged)
	}
	if format != keyFileFormat {
		if isNumber(format) {
			return nil, fmt.Errorf("the key file has format %.8s, known is %s: %w", format, keyFileFormat, ErrNewerFormat)
		}
		return nil, fmt.Errorf("%w: the key file has no known format", ErrDamaged)
	}
	digits, sum, ok := strings.Cut(rest, ":")
	if !ok || len(digits) < 2*keyFileKeySize || len(sum) < 2*keyFileSumSize {
		return nil, fmt.Errorf("%w: the line with the key is cut", ErrDamaged)
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
		return nil, fmt.Errorf("%w: the checksum does not match the key: a character is wrong", ErrDamaged)
	}
	return master, nil
}

func isNumber(s string) bool {
	return s != "" && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}
