package secretmap

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// The kinds of secret record.
const (
	kindRemoved = 0
	kindValue   = 1
	kindMasked  = 2 // a tombstone that no caller asked for, see opMask
)

// withOrigin is set in the kind of a record that has an origin. Records written
// before origins existed have none.
const withOrigin = 0x80

// A secret record consists of its kind, the length of the origin and the origin,
// the length of the name and the name, and the value.
func encodeSecret(kind byte, o origin, name, value string) []byte {
	b := make([]byte, 0, 1+2*binary.MaxVarintLen16+len(o)+len(name)+len(value))
	if len(o) > 0 {
		b = binary.AppendUvarint(append(b, kind|withOrigin), uint64(len(o)))
		b = append(b, o...)
	} else {
		b = append(b, kind)
	}
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	return append(b, value...)
}

// secretRecord is a decoded secret record, and the version that wrote it. The
// zero value stands for no record.
type secretRecord struct {
	version     uint64
	kind        byte
	origin      origin
	name, value string
}

// shown reports whether the name has a value.
func (s *secretRecord) shown() bool { return s.kind == kindValue }

// following is change.Earlier for the next record of the name.
func (s *secretRecord) following() uint64 {
	if s.version == 0 {
		return 0
	}
	return s.origin.earlier() + 1
}

var errSecretRecord = errors.New("not a secret record")

func decodeSecret(b []byte) (s secretRecord, err error) {
	if len(b) == 0 || b[0]&^withOrigin > kindMasked {
		return s, errSecretRecord
	}
	s.kind = b[0] &^ withOrigin
	rest, ok := b[1:], true
	if b[0]&withOrigin != 0 {
		var o []byte
		o, rest, ok = cutText(rest)
		s.origin = origin(o)
		ok = ok && s.origin.valid()
	}
	name, value, has := cutText(rest)
	if !ok || !has {
		return secretRecord{}, errSecretRecord
	}
	s.name, s.value = string(name), string(value)
	return s, nil
}

// cutText splits off text that is preceded by its length.
func cutText(b []byte) (text, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n], b[n:], true
}

// origin says when and by whom a secret record was written, and how many earlier
// records the name has had. It is encoded, because most reads don't need it:
//
//	time, user and token of 8 bytes each; number of earlier records as a varint; protocol
type origin []byte

const originTimes = 3 * 8 // bytes of the fields with a fixed size

func newOrigin(at time.Time, a Author, earlier uint64) origin {
	o := make(origin, 0, originTimes+binary.MaxVarintLen64+len(a.Protocol))
	o = binary.BigEndian.AppendUint64(o, uint64(at.UnixNano()))
	o = binary.BigEndian.AppendUint64(o, uint64(a.User))
	o = binary.BigEndian.AppendUint64(o, uint64(a.Token))
	o = binary.AppendUvarint(o, earlier)
	return append(o, a.Protocol...)
}

func (o origin) valid() bool {
	if len(o) < originTimes {
		return false
	}
	_, size := binary.Uvarint(o[originTimes:])
	return size > 0
}

func (o origin) earlier() uint64 {
	if len(o) == 0 {
		return 0
	}
	n, _ := binary.Uvarint(o[originTimes:])
	return n
}

func (o origin) time() time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(o))).UTC()
}

func (o origin) author() Author {
	_, size := binary.Uvarint(o[originTimes:])
	return Author{
		User:     ID(binary.BigEndian.Uint64(o[8:])),
		Token:    ID(binary.BigEndian.Uint64(o[16:])),
		Protocol: Protocol(o[originTimes+size:]),
	}
}

// secret finds the record that a version shows for a name. It is zero if there is
// none.
func (v *view) secret(m ID, name string, at uint64) (s secretRecord, err error) {
	h := v.r.DB().SecretHash(m, name)
	err = v.scanName(m, h, at, func(k, sealed []byte) (bool, error) {
		s, err = v.found(name, k, sealed)
		return false, err
	})
	return s, err
}

// scanName calls fn with the records of a name, from the one that a version shows
// to the oldest. h is the hash of the name.
func (v *view) scanName(m ID, h record.Hash, from uint64, fn func(k, sealed []byte) (bool, error)) error {
	return v.r.Scan(record.SecretKey(m, h, from), store.PrefixEnd(record.SecretPrefix(m, h)), fn)
}

// secretAt is secret for a name that was written in exactly that version;
// otherwise it returns store.ErrNotFound. h is the hash of the name.
func (v *view) secretAt(m ID, name string, h record.Hash, at uint64) (secretRecord, error) {
	k := record.SecretKey(m, h, at)
	sealed, err := v.r.Sealed(k)
	if err != nil {
		return secretRecord{}, err
	}
	return v.found(name, k, sealed)
}

func (v *view) found(name string, k, sealed []byte) (secretRecord, error) {
	s, err := v.openSecret(k, sealed)
	if err == nil && s.name != name {
		return secretRecord{}, record.Damaged(k, errors.New("it belongs to another name"))
	}
	return s, err
}

func (v *view) openSecret(k, sealed []byte) (secretRecord, error) {
	plain, err := v.r.Open(k, sealed)
	if err != nil {
		return secretRecord{}, err
	}
	s, err := decodeSecret(plain)
	if err != nil {
		return secretRecord{}, record.Damaged(k, err)
	}
	_, s.version, _ = record.ParseSecretKey(k)
	return s, nil
}

// scanVersion calls fn with the record of each name visible in a version, in no
// particular order.
func (v *view) scanVersion(m ID, at uint64, fn func(secretRecord) error) error {
	return v.scanSecrets(m, at, func([]byte) {}, fn)
}

// scanSecrets is scanVersion that also calls seen with the key of each secret
// record of the map.
func (v *view) scanSecrets(m ID, at uint64, seen func(key []byte), fn func(secretRecord) error) error {
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
		s, err := v.openSecret(k, sealed)
		if err != nil || !s.shown() {
			return err == nil, err
		}
		return true, fn(s)
	})
}
