package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

const (
	documentType   = "fluxkeep keyset"
	documentFormat = 1
	maxDocument    = 1 << 20
)

// document is a wrapped keyset. Everything in it but the two sealed parts can be read by anyone.
type document struct {
	Type       string  `json:"type"`
	Format     int     `json:"format"`
	Key        keyName `json:"key_encryption_key"`
	WrappedKey []byte  `json:"wrapped_key"` // the document key, under the key-encryption key
	Keyset     []byte  `json:"keyset"`      // the payload, under the document key
	Checksum   string  `json:"checksum"`
}

// keyName names the key-encryption key.
type keyName struct {
	Provider   string            `json:"provider"`
	ID         string            `json:"id"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

func (k keyName) String() string { return k.Provider + " key " + k.ID }

func (d *document) ref() KeyRef { return KeyRef{ID: d.Key.ID, Parameters: d.Key.Parameters} }

// binding is the associated data of one of the two sealed parts. It binds the format, the provider, the id of the
// key-encryption key and its parameters, so that none of them can be exchanged. It is a hash because a key management
// service may show associated data in its own log and limit its length.
func (d *document) binding(part string) []byte {
	h := sha256.New()
	writeField(h, documentType)
	writeField(h, part)
	d.writeHeader(h)
	return h.Sum(nil)
}

// checksum finds damage by accident before any key is used, so that a bad disk is not taken for a wrong key. It is no
// protection against intent; binding is.
func (d *document) checksum() string {
	h := sha256.New()
	writeField(h, documentType)
	writeField(h, "checksum")
	d.writeHeader(h)
	writeField(h, string(d.WrappedKey))
	writeField(h, string(d.Keyset))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (d *document) writeHeader(h hash.Hash) {
	writeLength(h, d.Format)
	writeField(h, d.Key.Provider)
	writeField(h, d.Key.ID)
	writeLength(h, len(d.Key.Parameters))
	for _, name := range slices.Sorted(maps.Keys(d.Key.Parameters)) {
		writeField(h, name)
		writeField(h, d.Key.Parameters[name])
	}
}

// writeField writes s with its length in front, so that no two lists of fields give the same bytes.
func writeField(h hash.Hash, s string) {
	writeLength(h, len(s))
	io.WriteString(h, s)
}

func writeLength(h hash.Hash, n int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

func (d *document) encode() ([]byte, error) {
	d.Checksum = d.checksum()
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the keyset document: %w", err)
	}
	return append(b, '\n'), nil
}

// parseDocument reads what encode wrote. White space may differ, since tools that carry JSON about change it; everything
// else must be as encode writes it, so that a document has one meaning and any other change is found.
func parseDocument(b []byte) (*document, error) {
	if len(b) > maxDocument {
		return nil, fmt.Errorf("%w: the keyset document is larger than %d bytes", ErrDamaged, maxDocument)
	}
	var head struct {
		Type   string `json:"type"`
		Format int    `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: the keyset document is not JSON", ErrDamaged)
	}
	switch {
	case head.Type != documentType:
		return nil, fmt.Errorf("%w: this is not a keyset document", ErrDamaged)
	case head.Format > documentFormat:
		return nil, fmt.Errorf("the keyset document has format %d, known is %d: %w", head.Format, documentFormat, ErrNewerFormat)
	case head.Format < documentFormat:
		return nil, fmt.Errorf("%w: the keyset document has no known format", ErrDamaged)
	}
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%w: the keyset document does not parse", ErrDamaged)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, fmt.Errorf("%w: the keyset document does not parse", ErrDamaged)
	}
	canonical, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("check the keyset document: %w", err)
	}
	if !bytes.Equal(compact.Bytes(), canonical) {
		return nil, fmt.Errorf("%w: the keyset document is not as it was written", ErrDamaged)
	}
	if d.Checksum != d.checksum() {
		return nil, fmt.Errorf("%w: the checksum of the keyset document does not match", ErrDamaged)
	}
	return d, nil
}
