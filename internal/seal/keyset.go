package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	tinkkeyset "github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/hmacprf"
)

const lookupKeySize = 32

// keyset is the content of Keys and of the wrapped document: the data keys
// with their creation times, and the lookup key.
type keyset struct {
	data    *tinkkeyset.Handle
	lookup  *tinkkeyset.Handle
	primary uint32
	created map[uint32]time.Time // one entry for each data key
}

func (s *keyset) has(id uint32) bool {
	_, ok := s.created[id]
	return ok
}

// newKeyset returns a keyset with one data key and a lookup key.
func newKeyset(now time.Time) (*keyset, error) {
	data, err := tinkkeyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("create a data key: %w", err)
	}
	lookup, err := tinkkeyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("create a lookup key: %w", err)
	}
	id := data.KeysetInfo().GetPrimaryKeyId()
	return &keyset{data: data, lookup: lookup, primary: id, created: map[uint32]time.Time{id: now}}, nil
}

// withNewKey returns a copy with one more data key, which is primary.
func (s *keyset) withNewKey(now time.Time) (*keyset, error) {
	m := tinkkeyset.NewManagerFromHandle(s.data)
	id, err := m.Add(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("create a data key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("make data key %08x primary: %w", id, err)
	}
	data, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("add data key %08x: %w", id, err)
	}
	created := maps.Clone(s.created)
	created[id] = now
	return &keyset{data: data, lookup: s.lookup, primary: id, created: created}, nil
}

// withoutKey returns a copy without a data key, which must exist and not be
// primary.
func (s *keyset) withoutKey(id uint32) (*keyset, error) {
	m := tinkkeyset.NewManagerFromHandle(s.data)
	if err := m.Delete(id); err != nil {
		return nil, fmt.Errorf("remove data key %08x: %w", id, err)
	}
	data, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("remove data key %08x: %w", id, err)
	}
	created := maps.Clone(s.created)
	delete(created, id)
	return &keyset{data: data, lookup: s.lookup, primary: s.primary, created: created}, nil
}

// keys creates the primitives.
func (s *keyset) keys() (*Keys, error) {
	a, err := aead.New(s.data)
	if err != nil {
		return nil, fmt.Errorf("use the data keys: %w", err)
	}
	key, err := lookupKey(s.lookup)
	if err != nil {
		return nil, err
	}
	return &Keys{
		shown:  shown{fmt.Sprintf("keyset with primary data key %08x of %d", s.primary, len(s.created))},
		set:    s,
		aead:   a,
		lookup: newLookup(key),
	}, nil
}

// lookupKey extracts the key from its handle: Tink's own PRF sets up the HMAC
// state for every hash.
func lookupKey(h *tinkkeyset.Handle) ([]byte, error) {
	e, err := h.Primary()
	if err != nil {
		return nil, fmt.Errorf("use the lookup key: %w", err)
	}
	want, err := hmacprf.NewParameters(lookupKeySize, hmacprf.SHA256)
	if err != nil {
		return nil, fmt.Errorf("use the lookup key: %w", err)
	}
	key, ok := e.Key().(*hmacprf.Key)
	if !ok || h.Len() != 1 || !key.Parameters().Equal(want) {
		return nil, fmt.Errorf("the lookup key is not for HMAC-SHA256: %w", ErrNewerFormat)
	}
	return key.KeyBytes().Data(insecuresecretdataaccess.Token{}), nil
}

// payload is the plain-text form of a keyset. It exists only in memory, while
// a document is read or written.
type payload struct {
	DataKeys  []byte               `json:"data_keys"`  // Tink's binary keyset
	Created   map[uint32]time.Time `json:"created"`    // by ID of the data key
	LookupKey []byte               `json:"lookup_key"` // Tink's binary keyset
}

func (s *keyset) encode() ([]byte, error) {
	data, err := encodeHandle(s.data)
	if err != nil {
		return nil, fmt.Errorf("encode the data keys: %w", err)
	}
	defer clear(data)
	lookup, err := encodeHandle(s.lookup)
	if err != nil {
		return nil, fmt.Errorf("encode the lookup key: %w", err)
	}
	defer clear(lookup)
	return json.Marshal(payload{DataKeys: data, Created: s.created, LookupKey: lookup})
}

func encodeHandle(h *tinkkeyset.Handle) ([]byte, error) {
	var b bytes.Buffer
	// In plain text: the caller encrypts both keysets together, with the
	// document key.
	if err := insecurecleartextkeyset.Write(h, tinkkeyset.NewBinaryWriter(&b)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decodeKeyset parses the output of encode. The bytes are authenticated, so if
// they are invalid, another version or a bug wrote them. Errors contain none
// of them.
func decodeKeyset(clearText []byte) (*keyset, error) {
	var p payload
	if err := json.Unmarshal(clearText, &p); err != nil {
		return nil, fmt.Errorf("%w: the keyset inside the document is malformed", ErrDamaged)
	}
	defer clear(p.DataKeys)
	defer clear(p.LookupKey)
	data, err := decodeHandle(p.DataKeys)
	if err != nil {
		return nil, fmt.Errorf("%w: the data keys inside the document are malformed", ErrDamaged)
	}
	lookup, err := decodeHandle(p.LookupKey)
	if err != nil {
		return nil, fmt.Errorf("%w: the lookup key inside the document is malformed", ErrDamaged)
	}
	s := &keyset{data: data, lookup: lookup, created: p.Created}
	if data.Len() != len(p.Created) {
		return nil, fmt.Errorf("%w: %d data keys with %d creation times", ErrDamaged, data.Len(), len(p.Created))
	}
	for i := range data.Len() {
		e, err := data.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("data key %d: %w", i, err)
		}
		if !s.has(e.KeyID()) {
			return nil, fmt.Errorf("%w: data key %08x has no creation time", ErrDamaged, e.KeyID())
		}
		key, ok := e.Key().(*xchacha20poly1305.Key)
		if !ok || e.KeyStatus() != tinkkeyset.Enabled || !isTinkVariant(key) {
			return nil, fmt.Errorf("data key %08x is not for XChaCha20-Poly1305: %w", e.KeyID(), ErrNewerFormat)
		}
		if e.IsPrimary() {
			s.primary = e.KeyID()
		}
	}
	return s, nil
}

func isTinkVariant(key *xchacha20poly1305.Key) bool {
	p, ok := key.Parameters().(*xchacha20poly1305.Parameters)
	return ok && p.Variant() == xchacha20poly1305.VariantTink
}

func decodeHandle(b []byte) (*tinkkeyset.Handle, error) {
	return insecurecleartextkeyset.Read(tinkkeyset.NewBinaryReader(bytes.NewReader(b)))
}
