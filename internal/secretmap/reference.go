package secretmap

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// A reference replaces a secret's name in URLs, which end up in histories and
// logs. It is the first 12 bytes of the name's hash in the keys of its records, so
// it stays the same for as long as the map exists, and finding the name takes one
// read.
const referenceLen = 12

// References returns a function that returns the reference of a name. It may be
// used after the transaction.
func (m *Map) References() func(name string) string {
	db, id := m.r.DB(), m.head.Map
	return func(name string) string {
		h := db.SecretHash(id, name)
		return base64.RawURLEncoding.EncodeToString(h[:referenceLen])
	}
}

// Referenced returns the name that a reference belongs to. ok is false if no
// stored version shows or removes such a name.
func (m *Map) Referenced(reference string) (name string, ok bool, err error) {
	h, err := base64.RawURLEncoding.Strict().DecodeString(reference)
	if err != nil || len(h) != referenceLen {
		return "", false, nil
	}
	err = m.r.ScanPrefix(append(record.Key(record.TableSecret, m.head.Map), h...), func(k, sealed []byte) (bool, error) {
		s, err := m.openSecret(k, sealed)
		if err != nil {
			return false, err
		}
		hash, _, _ := record.ParseSecretKey(k)
		if want := m.r.DB().SecretHash(m.head.Map, s.name); !bytes.Equal(hash[:], want[:]) {
			return false, record.Damaged(k, errors.New("it belongs to another name"))
		}
		name, ok = s.name, true
		return false, nil
	})
	return name, ok, err
}
