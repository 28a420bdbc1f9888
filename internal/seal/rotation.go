package seal

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// KeyInfo is the public part of a data key.
type KeyInfo struct {
	ID      uint32
	Primary bool      // Seal uses it
	Created time.Time // in UTC, to the second
}

// KeyInfos lists the data keys, oldest first.
func (k *Keys) KeyInfos() []KeyInfo {
	infos := make([]KeyInfo, 0, len(k.set.created))
	for id, created := range k.set.created {
		infos = append(infos, KeyInfo{ID: id, Primary: id == k.set.primary, Created: created})
	}
	slices.SortFunc(infos, func(a, b KeyInfo) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

// WithNewKey returns a copy with one more data key, which is primary. The copy
// opens everything that k opens, but not vice versa, so wrap and store the
// copy before using it.
func (k *Keys) WithNewKey() (*Keys, error) {
	s, err := k.set.withNewKey(now())
	if err != nil {
		return nil, fmt.Errorf("rotate: %w", err)
	}
	return s.keys()
}

// WithoutKey returns a copy without a data key; values sealed with that key
// are lost. It returns ErrPrimaryKey for the primary key and ErrUnknownKey for
// an unknown one.
func (k *Keys) WithoutKey(id uint32) (*Keys, error) {
	if id == k.set.primary {
		return nil, fmt.Errorf("remove data key %08x: %w", id, ErrPrimaryKey)
	}
	if !k.set.has(id) {
		return nil, fmt.Errorf("remove data key %08x: %w", id, ErrUnknownKey)
	}
	s, err := k.set.withoutKey(id)
	if err != nil {
		return nil, err
	}
	return s.keys()
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
