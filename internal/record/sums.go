package record

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Every state of the store has sums of exactly the records that it has, so that
// a record that is missing, or an older copy of one, is found:
//
//	root       one record, written with every change: a grid over heads, the
//	           outbox, the checkpoint and the directory's sums
//	directory  one record: a grid over organizations, users, tokens,
//	           memberships, sessions, and the entries by which they are found
//	head       of each map: the sums of the map's records (MapSums)
//
// Only an older copy of the whole store has sums that fit its records.

var (
	rootKey      = Key(TableRoot)
	directoryKey = Key(TableDirectory)
)

const (
	rootSize      = 32
	directorySize = 64
)

// MapSums are the sums of the records of one map. Its head holds them.
type MapSums struct {
	Secrets Sum `json:"secrets"` // of secret records
	History Sum `json:"history"` // of versions and their changes, and the state
}

// Plus returns the sums after changes.
func (s MapSums) Plus(changes MapSums) MapSums {
	s.Secrets.toggle(changes.Secrets)
	s.History.toggle(changes.History)
	return s
}

// changes are what a transaction has changed in the sums so far.
type changes struct {
	any       bool
	root      grid
	directory grid           // empty: nothing
	maps      map[ID]MapSums // by map, without the state
	states    map[ID]MapSums // by organization, of the state alone
}

func newChanges() changes {
	return changes{root: newGrid(rootSize), maps: map[ID]MapSums{}, states: map[ID]MapSums{}}
}

// toggle counts the record at key, or, if it was counted, no longer does.
func (c *changes) toggle(key []byte, element Sum) {
	c.any = true
	switch table := TableOf(key); table {
	case TableSecret:
		m := mustID(key)
		c.maps[m] = c.maps[m].Plus(MapSums{Secrets: element})
	case TableVersion, TableChanges:
		m := mustID(key)
		c.maps[m] = c.maps[m].Plus(MapSums{History: element})
	case TableState:
		org := mustID(key)
		c.states[org] = c.states[org].Plus(MapSums{History: element})
	case TableHead, TableOutbox, TableCheckpoint, TableClock, TableDirectory:
		c.root.toggle(key, element)
	case TableRoot: // there are no sums of the root
	default:
		if len(c.directory.rows) == 0 {
			c.directory = newGrid(directorySize)
		}
		c.directory.toggle(key, element)
	}
}

// mustID returns the ID in a key that was made here.
func mustID(key []byte) ID {
	id, _ := IDAt(key, 1)
	return id
}

// MapChanges returns what the transaction has changed, since the last call, in
// the sums of an organization and its map. The organization's head must be
// written next, with these changes added to its sums.
func (w *Writer) MapChanges(org, m ID) MapSums {
	sum := w.changed.maps[m].Plus(w.changed.states[org])
	delete(w.changed.maps, m)
	delete(w.changed.states, org)
	return sum
}

// writeSums ends a transaction.
func (w *Writer) writeSums() error {
	c := &w.changed
	if !c.any {
		return nil
	}
	for m, sums := range c.maps {
		if sums != (MapSums{}) {
			return fmt.Errorf("map %s was changed, and its sums were not written", m)
		}
	}
	for org, sums := range c.states {
		if sums != (MapSums{}) {
			return fmt.Errorf("the state of organization %s was changed, and its sums were not written", org)
		}
	}
	if len(c.directory.rows) > 0 {
		if err := w.addGrid(directoryKey, c.directory); err != nil {
			return err
		}
	}
	return w.addGrid(rootKey, c.root)
}

// addGrid adds to the grid at key.
func (w *Writer) addGrid(key []byte, changes grid) error {
	g, err := w.grid(key, len(changes.rows))
	if err != nil {
		return err
	}
	return w.putGrid(key, g.sum(changes))
}

func (w *Writer) putGrid(key []byte, g grid) error {
	return w.PutDecoded(key, g.append(make([]byte, 0, 2*len(g.rows)*len(gridSum{}))), &g)
}

// grid returns the grid at key, which must not be changed.
func (r *Reader) grid(key []byte, size int) (grid, error) {
	g, err := LoadFunc(r, key, func(plain []byte) (*grid, error) {
		g := newGrid(size)
		if err := g.read(plain); err != nil {
			return nil, Damaged(key, err)
		}
		return &g, nil
	})
	switch {
	case err != nil:
		return grid{}, err
	case g == nil:
		return grid{}, Damaged(key, errMissing)
	}
	return *g, nil
}

var errMissing = errors.New("it is missing")

// HasSums reports whether the root or the directory has sums. Those of maps
// are in their heads.
func (r *Reader) HasSums() (bool, error) {
	has, err := r.Has(rootKey)
	if err == nil && !has {
		has, err = r.Has(directoryKey)
	}
	return has, err
}

// Prepare makes the sums of a store that has none: a new one, or one from
// before there were sums. sumHeads must then write each head with the sums
// that Reader.MapSums returns, and refuse with an error if one has sums
// already: the sums of such a store have been removed.
func (db *DB) Prepare(ctx context.Context, sumHeads func(*Writer) error) error {
	prepared := false
	err := db.View(ctx, func(r *Reader) (err error) {
		prepared, err = r.HasSums()
		return err
	})
	if err != nil || prepared {
		return err
	}
	return db.rebuild(ctx, sumHeads)
}

// Accept makes the sums fit the records that there are, whatever they were.
// sumHeads must write each head with the sums that Reader.MapSums returns.
func (db *DB) Accept(ctx context.Context, sumHeads func(*Writer) error) error {
	db.suspects.Store(nil)
	return db.rebuild(ctx, sumHeads)
}

func (db *DB) rebuild(ctx context.Context, sumHeads func(*Writer) error) error {
	w := &Writer{Reader: Reader{ctx: ctx, db: db}}
	return db.store.Update(ctx, func(tx store.Tx) error {
		w.Now, w.store, w.tx, w.changed = db.now(), tx, tx, newChanges()
		if err := sumHeads(w); err != nil {
			return err
		}
		// What can't be opened is damaged, with sums and without.
		skip := func(*DamageError) {}
		directory, err := w.sum(directorySize, directoryTables, skip)
		if err != nil {
			return err
		}
		if err := w.putGrid(directoryKey, directory); err != nil {
			return err
		}
		root, err := w.sum(rootSize, rootTables, skip)
		if err != nil {
			return err
		}
		return w.putGrid(rootKey, root)
	})
}

var (
	rootTables      = []Table{TableHead, TableOutbox, TableCheckpoint, TableClock, TableDirectory}
	directoryTables = []Table{TableOrg, TableOrgName, TableUser, TableUserName, TableToken, TableTokenHash, TableSession, TableSessionOf, TableMember, TableMemberOf, TableSetUp}
)

// sum returns the grid over tables. It gives a record that can't be opened to
// damaged, and does not count it.
func (r *Reader) sum(size int, tables []Table, damaged func(*DamageError)) (grid, error) {
	g := newGrid(size)
	for _, t := range tables {
		err := r.ScanPrefix(Key(t), func(key, sealed []byte) (bool, error) {
			if err := r.ctx.Err(); err != nil {
				return false, err
			}
			var plain []byte
			if rewritten(t) {
				var err error
				if plain, err = r.db.open(key, sealed); err != nil {
					if damage := (*DamageError)(nil); errors.As(err, &damage) {
						damaged(damage)
						return true, nil
					}
					return false, err
				}
			}
			g.toggle(key, r.db.element(key, plain))
			return true, nil
		})
		if err != nil {
			return grid{}, err
		}
	}
	return g, nil
}

// MapSums returns the sums of an organization and its map as its records
// have them. It opens none of them but the state.
func (r *Reader) MapSums(org, m ID) (MapSums, error) {
	c := newChanges()
	for _, t := range []Table{TableSecret, TableVersion, TableChanges} {
		err := r.ScanPrefix(Key(t, m), func(key, _ []byte) (bool, error) {
			c.toggle(key, r.db.element(key, nil))
			return true, r.ctx.Err()
		})
		if err != nil {
			return MapSums{}, err
		}
	}
	w := &Writer{Reader: *r, changed: c}
	if err := w.uncount(Key(TableState, org)); err != nil { // counts it, since it was not
		return MapSums{}, err
	}
	return w.MapChanges(org, m), nil
}

// Count adds the record at key, of a table whose records are never rewritten,
// to a sum.
func (r *Reader) Count(sum *Sum, key []byte) { sum.toggle(r.db.element(key, nil)) }
