package cli

import (
	"context"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDamage changes a byte of every secret record in a data folder, or removes all
// records of some tables.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: damage folder [tables]")
	}
	s, err := pebblestore.Open(filepath.Join(ts.MkAbs(args[0]), "store"), nil)
	ts.Check(err)
	defer s.Close()
	if len(args) > 1 {
		ts.Check(s.Update(context.Background(), func(w store.Tx) error {
			for _, table := range []byte(args[1]) {
				if err := w.DeleteRange([]byte{table}, []byte{table + 1}); err != nil {
					return err
				}
			}
			return nil
		}))
		return
	}
	changed := 0
	ts.Check(s.Update(context.Background(), func(w store.Tx) error {
		changed = 0
		records := map[string][]byte{}
		err := w.Scan([]byte("s"), []byte("t"), func(key, sealed []byte) (bool, error) {
			records[string(key)] = append([]byte(nil), sealed...)
			return true, nil
		})
		for key, sealed := range records {
			sealed[len(sealed)-1] ^= 1
			changed++
			if err := w.Set([]byte(key), sealed); err != nil {
				return err
			}
		}
		return err
	}))
	if changed == 0 {
		ts.Fatalf("there are no secret records in %s", args[0])
	}
}
