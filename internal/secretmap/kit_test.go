package secretmap

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// check reports all damage in the maps of a store to found.
// doesn't match the records that are there.
func check(ctx context.Context, db *record.DB, found func(what string, err error)) error {
	return db.View(ctx, func(r *record.Reader) error {
		c, err := NewChecker(r)
		if err != nil {
			return err
		}
		f := record.NewFindings(found)
		err = r.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
			plain, err := r.Open(key, sealed)
			if err == nil {
				_, err = c.Record(key, plain)
			} else {
				c.Unread(key)
			}
			f.Check(record.Describe(key), err)
			return true, nil
		})
		if err != nil {
			return err
		}
		c.Compare(f)
		if _, err := r.VerifySums(func(d *record.DamageError) { f.Check(d.What, d) }); err != nil {
			return err
		}
		return r.ScanIDs(record.TableHead, func(org ID) error {
			f.Check(org.String(), Verify(r, org))
			return nil
		})
	})
}
