package secretmap

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// check tells found of all damage in the maps of a store.
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
		if err == nil {
			c.Compare(f)
		}
		return err
	})
}
