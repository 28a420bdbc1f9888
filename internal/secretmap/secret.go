package secretmap

import (
	"encoding/binary"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// The kinds of secret record.
const (
	kindRemoved = 0
	kindValue   = 1
	kindMasked  = 2 // a tombstone that no caller asked for, see opMask
)

// A secret record consists of its kind, the length of the name, the name and the
// value.
func encodeSecret(kind byte, name, value string) []byte {
	b := make([]byte, 0, 1+binary.MaxVarintLen16+len(name)+len(value))
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	return append(b, value...)
}

var errSecretRecord = errors.New("not a secret record")

func decodeSecret(b []byte) (kind byte, name, value string, err error) {
	kind, n, v, ok := splitSecret(b)
	if !ok {
		return 0, "", "", errSecretRecord
	}
	return kind, string(n), string(v), nil
}

func splitSecret(b []byte) (kind byte, name, value []byte, ok bool) {
	if len(b) == 0 || b[0] > kindMasked {
		return 0, nil, nil, false
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)-1-size) {
		return 0, nil, nil, false
	}
	rest := b[1+size:]
	return b[0], rest[:n], rest[n:], true
}

// secret finds a name's value in a version, and the version in which it was
// written. ok is false if the version doesn't have the name.
func (v *view) secret(m ID, name string, at uint64) (e entry, value string, ok bool, err error) {
	h := v.r.DB().SecretHash(m, name)
	prefix := record.SecretPrefix(m, h)
	err = v.r.Scan(record.SecretKey(m, h, at), store.PrefixEnd(prefix), func(k, sealed []byte) (bool, error) {
		e, value, ok, err = v.found(name, k, sealed)
		return false, err
	})
	return e, value, ok, err
}

// secretAt is secret for a name that was written in exactly that version;
// otherwise it returns store.ErrNotFound. h is the hash of the name.
func (v *view) secretAt(m ID, name string, h record.Hash, at uint64) (e entry, value string, ok bool, err error) {
	k := record.SecretKey(m, h, at)
	sealed, err := v.r.Sealed(k)
	if err != nil {
		return entry{}, "", false, err
	}
	return v.found(name, k, sealed)
}

func (v *view) found(name string, k, sealed []byte) (e entry, value string, ok bool, err error) {
	_, version, _ := record.ParseSecretKey(k)
	kind, has, value, err := v.openSecret(k, sealed)
	if err != nil {
		return entry{}, "", false, err
	}
	if has != name {
		return entry{}, "", false, record.Damaged(k, errors.New("it belongs to another name"))
	}
	return entry{has, version}, value, kind == kindValue, nil
}

func (v *view) openSecret(k, sealed []byte) (kind byte, name, value string, err error) {
	plain, err := v.r.Open(k, sealed)
	if err != nil {
		return 0, "", "", err
	}
	kind, name, value, err = decodeSecret(plain)
	if err != nil {
		return 0, "", "", record.Damaged(k, err)
	}
	return kind, name, value, nil
}

// scanVersion calls fn with each name visible in a version, in no particular
// order.
func (v *view) scanVersion(m ID, at uint64, fn func(e entry, value string) error) error {
	return v.scanSecrets(m, at, func([]byte) {}, fn)
}

// scanSecrets is scanVersion that also calls seen with the key of each secret
// record of the map.
func (v *view) scanSecrets(m ID, at uint64, seen func(key []byte), fn func(e entry, value string) error) error {
	var last record.Hash
	have := false
	return v.r.ScanPrefix(record.Key(record.TableSecret, m), func(k, sealed []byte) (bool, error) {
		seen(k)
		h, version, ok := record.ParseSecretKey(k)
		if !ok {
			return false, record.Damaged(k, errSecretRecord)
		}
		if version > at || (have && h == last) {
			return true, nil
		}
		last, have = h, true
		kind, name, value, err := v.openSecret(k, sealed)
		if err != nil || kind != kindValue {
			return err == nil, err
		}
		return true, fn(entry{name, version}, value)
	})
}
