package secretmap

import (
	"encoding/json"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Verify compares the sums in the head of an organization's map with the
// records that there are. It opens none of them but the state.
func Verify(r *record.Reader, org ID) error {
	v := view{r: r}
	m, err := v.mapState(org)
	if err != nil || m.head.Map == 0 {
		return err
	}
	sums, err := r.MapSums(org, m.head.Map)
	if err == nil && sums != m.head.Sums {
		err = wrongSums(org)
	}
	return err
}

// HasSums reports whether a store has sums of its records, or had them.
func HasSums(r *record.Reader) (bool, error) {
	has, err := r.HasSums()
	if err != nil || has {
		return has, err
	}
	err = r.ScanPrefix(record.Key(record.TableHead), func(key, sealed []byte) (bool, error) {
		var h headRecord
		has = r.OpenJSON(key, sealed, &h) == nil && h.Sums != (record.MapSums{})
		return !has, r.Context().Err()
	})
	return has, err
}

func wrongSums(org ID) error {
	return &record.DamageError{
		What: "the secrets of organization " + org.String(),
		Err:  errors.New("a record is missing or was put back"),
	}
}

// PrepareSums is for record.DB.Prepare.
func PrepareSums(w *record.Writer) error {
	return writeSums(w, func(org ID, h *headRecord) error {
		if h.Sums != (record.MapSums{}) {
			return record.Damaged(record.Key(record.TableHead, org), errors.New("the sums of the store are missing"))
		}
		return nil
	})
}

// AcceptSums is for record.DB.Accept.
func AcceptSums(w *record.Writer) error {
	return writeSums(w, func(ID, *headRecord) error { return nil })
}

// writeSums writes the sums of each map into its head. A head that can't be
// read stays as it is.
func writeSums(w *record.Writer, check func(ID, *headRecord) error) error {
	var orgs []ID
	err := w.ScanIDs(record.TableHead, func(org ID) error {
		orgs = append(orgs, org)
		return nil
	})
	for _, org := range orgs {
		if err == nil {
			err = writeMapSums(w, org, check)
		}
	}
	return err
}

func writeMapSums(w *record.Writer, org ID, check func(ID, *headRecord) error) error {
	key := record.Key(record.TableHead, org)
	sealed, err := w.Sealed(key)
	if err != nil {
		return err
	}
	var h headRecord
	if plain, err := w.Open(key, sealed); err != nil || json.Unmarshal(plain, &h) != nil {
		return nil
	}
	if err := check(org, &h); err != nil {
		return err
	}
	sums, err := w.MapSums(org, h.Map)
	if err != nil || sums == h.Sums {
		return err
	}
	h.Sums = sums
	return w.Put(key, h.appendJSON(nil))
}
