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

// document is a wrapped keyset. Everything except the two sealed parts is in
// plain text.
type document struct {
	Type       string  `json:"type"`
	Format     int     `json:"format"`
	Key        keyName `json:"key_encryption_key"`
	WrappedKey []byte  `json:"wrapped_key"` // the document key, encrypted with the key-encryption key
	Keyset     []byte  `json:"keyset"`      // the payload, encrypted with the document key
	Checksum   string  `json:"checksum"`
}

// keyName identifies the key-encryption key.
type keyName struct {
	Provider   string            `json:"provider"`
	ID         string            `json:"id"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

func (k keyName) String() string { return k.Provider + " key " + k.ID }

func (d *document) ref() KeyRef { return KeyRef{ID: d.Key.ID, Parameters: d.Key.Parameters} }

// binding returns the associated data of a sealed part. It binds the part to
// the format, the provider, and the ID and parameters of the key-encryption
// key, so that none of them can be swapped. It is a hash because a key
// management service may log associated data and limit its length.
func (d *document) binding(part string) []byte {
	h := sha256.New()
	writeField(h, documentType)
	writeField(h, part)
	d.writeHeader(h)
	return h.Sum(nil)
}

// checksum detects accidental damage before any key is used, so that a bad
// disk is not mistaken for a wrong key. It does not protect against attackers;
// binding does.
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

// writeField writes s with a length prefix, so that different lists of fields
// have different encodings.
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

// parseDocument parses the output of encode. White space may differ, since
// tools that transport JSON change it. Everything else must be exactly as
// written by encode, so that any other change is detected.
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
		return nil, fmt.Errorf("%w: it is not a keyset document", ErrDamaged)
	case head.Format > documentFormat:
		return nil, fmt.Errorf("the keyset document has format %d, but only format %d is known: %w", head.Format, documentFormat, ErrNewerFormat)
	case head.Format < documentFormat:
		return nil, fmt.Errorf("%w: the keyset document has no valid format", ErrDamaged)
	}
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%w: the keyset document is malformed", ErrDamaged)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, fmt.Errorf("%w: the keyset document is malformed", ErrDamaged)
	}
	canonical, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("check the keyset document: %w", err)
	}
	if !bytes.Equal(compact.Bytes(), canonical) {
		return nil, fmt.Errorf("%w: the keyset document was changed", ErrDamaged)
	}
	if d.Checksum != d.checksum() {
		return nil, fmt.Errorf("%w: the checksum of the keyset document does not match", ErrDamaged)
	}
	return d, nil
}
