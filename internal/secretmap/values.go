package secretmap

import (
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// sealedValues are all values of a snapshot, concatenated and sealed with a
// key of this process. A frequently read document is then opened in one step
// instead of name by name, and only values in use are in memory as plaintext.
type sealedValues struct {
	sealed []byte
	ends   []int // of each value, in the order of the names
}

// maxSealedValues limits the size of such a piece. Above it, opening values
// one by one no longer dominates the time.
const maxSealedValues = 64 << 10

// secrets returns all secrets of a snapshot.
func (v *view) secrets(s *snapshot) ([]Secret, error) {
	if all := s.values.Load(); all != nil {
		return v.openAll(s, all)
	}
	memory := reservation{v: v}
	if err := memory.add(secretSize * len(s.names)); err != nil {
		return nil, err
	}
	out := make([]Secret, len(s.names))
	size := 0
	for i, name := range s.names {
		value, err := v.value(s, i)
		if err == nil {
			err = memory.add(len(value))
		}
		if err != nil {
			return nil, err
		}
		out[i] = Secret{name, value, s.written[i]}
		size += len(value)
	}
	if err := memory.flush(); err != nil {
		return nil, err
	}
	if size <= maxSealedValues {
		if all := v.maps.sealAll(out, size); s.values.CompareAndSwap(nil, all) {
			v.maps.snapshots.grow(s, len(all.sealed)+8*len(all.ends))
		}
	}
	return out, nil
}

func (v *view) openAll(s *snapshot, all *sealedValues) ([]Secret, error) {
	memory := reservation{v: v, pending: int64(len(all.sealed) + secretSize*len(s.names))}
	if err := memory.flush(); err != nil {
		return nil, err
	}
	plain, err := v.maps.memory.Open(nil, all.sealed)
	if err != nil {
		return nil, &record.DamageError{What: "the cache of this process", Err: err}
	}
	values := string(plain)
	clear(plain)
	out := make([]Secret, len(s.names))
	start := 0
	for i, name := range s.names {
		out[i] = Secret{name, values[start:all.ends[i]], s.written[i]}
		start = all.ends[i]
	}
	return out, nil
}

func (m *Maps) sealAll(secrets []Secret, size int) *sealedValues {
	all := &sealedValues{ends: make([]int, len(secrets))}
	plain := make([]byte, 0, size)
	for i := range secrets {
		plain = append(plain, secrets[i].Value...)
		all.ends[i] = len(plain)
	}
	all.sealed = m.memory.Seal(plain)
	clear(plain)
	return all
}

// value returns the value of the name at index i of a snapshot.
func (v *view) value(s *snapshot, i int) (string, error) {
	r, err := v.recordOf(s, i)
	return r.value, err
}

// recordOf returns the record of the name at index i of a snapshot.
func (v *view) recordOf(s *snapshot, i int) (secretRecord, error) {
	v.key = record.AppendSecretKey(v.key[:0], s.m, v.r.DB().SecretHash(s.m, s.names[i]), s.written[i])
	sealed, err := v.r.Sealed(v.key)
	if errors.Is(err, store.ErrNotFound) {
		return secretRecord{}, record.Damaged(v.key, err)
	}
	if err != nil {
		return secretRecord{}, err
	}
	return v.found(s.names[i], v.key, sealed)
}

const (
	secretSize      = 40       // of a Secret, without the text
	nameSize        = 24       // of a name in a list, without the text
	versionSize     = 256      // of a VersionInfo, without the names
	changeSize      = 96       // of a SecretChange
	reservationStep = 64 << 10 // memory is reserved in steps of this size
)

// reservation is the memory that a document, a list or a snapshot takes while it is read.
type reservation struct {
	v       *view
	pending int64 // not reserved yet
}

func (r *reservation) add(bytes int) error {
	if r.pending += int64(bytes); r.pending < reservationStep {
		return nil
	}
	return r.flush()
}

func (r *reservation) flush() error {
	bytes := r.pending
	r.pending = 0
	if r.v.maps.reserve == nil {
		return nil
	}
	return r.v.maps.reserve(r.v.r.Context(), bytes)
}
