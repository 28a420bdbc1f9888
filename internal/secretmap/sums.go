package secretmap

import (
	"encoding/json"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Verify compares the sums in the head of an organization's map with the
// existing records. It opens only the head and the state.
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

func wrongSums(org ID) error {
	return &record.DamageError{
		What: "the secrets of organization " + org.String(),
		Err:  errors.New("a record is missing, or an older copy took its place"),
	}
}

// WriteSums writes to each head the sums of the map's records, for
// record.DB.Prepare and record.DB.Accept. It leaves a head that is right, or
// can't be read, as it is.
func WriteSums(w *record.Writer) error {
	var orgs []ID // collected first: a table must not change during a scan
	err := w.ScanIDs(record.TableHead, func(org ID) error {
		orgs = append(orgs, org)
		return nil
	})
	for _, org := range orgs {
		if err == nil {
			err = writeMapSums(w, org)
		}
	}
	return err
}

func writeMapSums(w *record.Writer, org ID) error {
	key := record.Key(record.TableHead, org)
	sealed, err := w.Sealed(key)
	if err != nil {
		return err
	}
	var h headRecord
	if plain, err := w.Open(key, sealed); err != nil || json.Unmarshal(plain, &h) != nil {
		return nil
	}
	sums, err := w.MapSums(org, h.Map)
	switch {
	case errors.As(err, new(*record.DamageError)):
		return nil // the state can't be read
	case err != nil || sums == h.Sums:
		return err
	}
	h.Sums, h.Sparse = sums, h.Current
	return w.Put(key, h.appendJSON(nil))
}
