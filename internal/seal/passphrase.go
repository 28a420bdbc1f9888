package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/argon2"
)

const minPassphrase = 8

// Passphrase is a provider that derives its key from a passphrase with
// Argon2id. Each wrapping has its own salt.
type Passphrase struct {
	shown
	secret func() []byte
}

var _ Provider = (*Passphrase)(nil)

// NewPassphrase returns a provider for a passphrase of at least 8 bytes, which
// it copies. The bytes are used unchanged, without normalization or trimming.
func NewPassphrase(passphrase []byte) (*Passphrase, error) {
	if len(passphrase) < minPassphrase {
		return nil, fmt.Errorf("the passphrase is shorter than %d bytes", minPassphrase)
	}
	secret := bytes.Clone(passphrase)
	return &Passphrase{
		shown:  shown{KindPassphrase},
		secret: func() []byte { return secret },
	}, nil
}

// Kind returns KindPassphrase.
func (p *Passphrase) Kind() string { return KindPassphrase }

// Key derives a key with a new salt.
func (p *Passphrase) Key(ctx context.Context) (KeyRef, tink.AEADWithContext, error) {
	c := newArgon2idCosts()
	key, err := p.derive(ctx, c)
	if err != nil {
		return KeyRef{}, nil, err
	}
	return KeyRef{ID: key.id, Parameters: c.parameters()}, key, nil
}

// KeyFor derives the key with the document's salt and costs.
func (p *Passphrase) KeyFor(ctx context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	c, err := parseArgon2idCosts(ref.Parameters)
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase parameters: %w", ErrDamaged, err)
	}
	key, err := p.derive(ctx, c)
	if err != nil {
		return nil, err
	}
	if key.id != ref.ID {
		return nil, wrongKey(KindPassphrase+" key "+ref.ID, KindPassphrase+" key "+key.id)
	}
	return key, nil
}

func (p *Passphrase) derive(ctx context.Context, c argon2idCosts) (*localKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	master := argon2.IDKey(p.secret(), c.salt, c.passes, c.memory, c.lanes, 32)
	defer clear(master)
	return newLocalKey(master)
}

// argon2idCosts are the parameters of a derivation, as stored in the document.
type argon2idCosts struct {
	salt   []byte
	passes uint32
	memory uint32 // KiB
	lanes  uint8
}

// The maximum costs that a document can require, so that a forged document
// cannot use up all memory or delay a start for hours. A lower limit would be
// useless: the document's costs only serve to open it, and every wrapping uses
// newArgon2idCosts.
const (
	maxArgon2idPasses = 16
	maxArgon2idMemory = 1 << 20
	maxArgon2idLanes  = 16
	minArgon2idSalt   = 16
	maxArgon2idSalt   = 64
)

// newArgon2idCosts returns the costs for new wrappings: the second recommended
// option of RFC 9106, section 4, with a 128-bit salt. The first option takes 2
// GiB of memory, more than many machines can spare.
func newArgon2idCosts() argon2idCosts {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return argon2idCosts{salt: salt, passes: 3, memory: 64 << 10, lanes: 4}
}

const argon2idName = "argon2id"

func (c argon2idCosts) parameters() map[string]string {
	return map[string]string{
		"function":   argon2idName,
		"version":    strconv.Itoa(argon2.Version),
		"salt":       base64.StdEncoding.EncodeToString(c.salt),
		"passes":     strconv.FormatUint(uint64(c.passes), 10),
		"memory_kib": strconv.FormatUint(uint64(c.memory), 10),
		"lanes":      strconv.FormatUint(uint64(c.lanes), 10),
	}
}

func parseArgon2idCosts(m map[string]string) (argon2idCosts, error) {
	if m["function"] != argon2idName || m["version"] != strconv.Itoa(argon2.Version) {
		return argon2idCosts{}, fmt.Errorf("the function is not %s version %d", argon2idName, argon2.Version)
	}
	salt, err := base64.StdEncoding.Strict().DecodeString(m["salt"])
	if err != nil || len(salt) < minArgon2idSalt || len(salt) > maxArgon2idSalt {
		return argon2idCosts{}, errors.New("the salt has the wrong length")
	}
	lanes, err := parseCost(m, "lanes", 1, maxArgon2idLanes)
	if err != nil {
		return argon2idCosts{}, err
	}
	passes, err := parseCost(m, "passes", 1, maxArgon2idPasses)
	if err != nil {
		return argon2idCosts{}, err
	}
	memory, err := parseCost(m, "memory_kib", 8*lanes, maxArgon2idMemory)
	if err != nil {
		return argon2idCosts{}, err
	}
	return argon2idCosts{salt: salt, passes: passes, memory: memory, lanes: uint8(lanes)}, nil
}

func parseCost(m map[string]string, name string, low, high uint32) (uint32, error) {
	n, err := strconv.ParseUint(m[name], 10, 32)
	if err != nil || uint32(n) < low || uint32(n) > high {
		return 0, fmt.Errorf("%s is not a number from %d to %d", name, low, high)
	}
	return uint32(n), nil
}
