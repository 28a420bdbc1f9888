package record

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// In every state, the store holds sums of exactly the records that it has, so a
// missing record and an older copy of one are found:
//
//	root       one record, written with each change: a grid over the heads, the
//	           outbox, the checkpoint, the clock, the last reads and uses, and the
//	           directory's sum record
//	directory  one record: a grid over organizations, users, tokens,
//	           memberships, sessions, and the entries by which they are found
//	head       of each map: the sums of the map's records (MapSums)
//
// Only an older copy of the whole store has sums that match its records.

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
	History Sum `json:"history"` // of versions, their changes, and the state
}

// Plus returns the sums after changes.
func (s MapSums) Plus(changes MapSums) MapSums {
	s.Secrets.toggle(changes.Secrets)
	s.History.toggle(changes.History)
	return s
}

// changes are the changes of sums that a transaction has collected.
type changes struct {
	any       bool
	root      []gridChange
	directory []gridChange
	maps      []mapChange // by map, without the state
	states    []mapChange // by organization, of the state alone

	// Space for a small change.
	rootSpace [4]gridChange
	mapsSpace [1]mapChange
}

type gridChange struct {
	place   gridPlace
	element Sum
}

type mapChange struct {
	id   ID
	sums MapSums
}

func (c *changes) reset() {
	*c = changes{}
	c.root, c.maps = c.rootSpace[:0], c.mapsSpace[:0]
}

// toggle adds the record at key to the sums or, if they include it, removes it.
func (c *changes) toggle(key []byte, element Sum) {
	c.any = true
	switch table := TableOf(key); table {
	case TableSecret:
		c.maps = change(c.maps, mustID(key), MapSums{Secrets: element})
	case TableVersion, TableChanges:
		c.maps = change(c.maps, mustID(key), MapSums{History: element})
	case TableState:
		c.states = change(c.states, mustID(key), MapSums{History: element})
	case TableHead, TableOutbox, TableTaken, TableCheckpoint, TableClock, TableBackup, TableActivity, TableDirectory:
		c.root = append(c.root, gridChange{placeInGrid(key), element})
	case TableRoot: // no sums include it
	default:
		c.directory = append(c.directory, gridChange{placeInGrid(key), element})
	}
}

// change adds to the changes of the map or organization with an ID.
func change(list []mapChange, id ID, sums MapSums) []mapChange {
	for i := range list {
		if list[i].id == id {
			list[i].sums = list[i].sums.Plus(sums)
			return list
		}
	}
	return append(list, mapChange{id, sums})
}

// take returns the changes of the map or organization with an ID, and removes
// them.
func take(list *[]mapChange, id ID) (sums MapSums) {
	for i, c := range *list {
		if c.id == id {
			last := len(*list) - 1
			(*list)[i] = (*list)[last]
			*list = (*list)[:last]
			return c.sums
		}
	}
	return MapSums{}
}

// mustID returns the ID in a key that was made by this package.
func mustID(key []byte) ID {
	id, _ := IDAt(key, 1)
	return id
}

// MapChanges returns the changes of the sums of an organization's map m since
// the last call. The caller must write the organization's head next, with these
// changes added to its sums.
func (w *Writer) MapChanges(org, m ID) MapSums {
	return take(&w.changed.maps, m).Plus(take(&w.changed.states, org))
}

// deferSums ends a transaction: the sums are written once for all that are
// committed together.
func (w *Writer) deferSums() error {
	c := &w.changed
	if !c.any {
		return nil
	}
	for _, m := range c.maps {
		if m.sums != (MapSums{}) {
			return fmt.Errorf("map %s was changed, but its sums were not written", m.id)
		}
	}
	for _, org := range c.states {
		if org.sums != (MapSums{}) {
			return fmt.Errorf("the state of organization %s was changed, but its sums were not written", org.id)
		}
	}
	w.tx.Defer(&gridChanges{db: w.db, own: w.own, root: c.root, directory: c.directory})
	return nil
}

// gridChanges are the changes of the root and the directory's sum record by one
// transaction, or the order to write both from the records that are there.
type gridChanges struct {
	db              *DB
	own             *seal.Keys
	root, directory []gridChange
	rebuild         bool
}

// Commit implements store.Deferred.
func (c *gridChanges) Commit(tx store.Tx, others []store.Deferred) error {
	w := &Writer{Reader: Reader{Now: c.db.now(), ctx: context.Background(), db: c.db, own: c.own, store: tx}, tx: tx}
	for _, o := range others {
		o := o.(*gridChanges)
		c.rebuild = c.rebuild || o.rebuild
		c.root, c.directory = append(c.root, o.root...), append(c.directory, o.directory...)
	}
	if c.rebuild {
		return w.rebuildGrids()
	}
	if len(c.directory) > 0 {
		if err := w.changeGrid(directoryKey, directorySize, c.directory); err != nil {
			return err
		}
	}
	// The change of the directory's sum record is one more for the root.
	return w.changeGrid(rootKey, rootSize, append(c.root, w.changed.root...))
}

func (w *Writer) changeGrid(key []byte, size int, changes []gridChange) error {
	old, err := w.grid(key, size)
	if err != nil {
		return err
	}
	g := append(grid(nil), old...)
	for _, c := range changes {
		g.toggle(c.place, c.element)
	}
	return w.putGrid(key, g)
}

func (w *Writer) putGrid(key []byte, g grid) error { return w.PutDecoded(key, g, &g) }

// grid returns the grid at key, which must not be changed.
func (r *Reader) grid(key []byte, size int) (grid, error) {
	g, err := LoadFunc(r, key, func(plain []byte) (*grid, error) {
		g, err := parseGrid(key, size, plain)
		return &g, err
	})
	if err == nil && g == nil {
		err = Damaged(key, errMissing)
	}
	if err != nil {
		return nil, err
	}
	return *g, nil
}

func parseGrid(key []byte, size int, plain []byte) (grid, error) {
	if len(plain) != len(newGrid(size)) {
		return nil, Damaged(key, errors.New("it is not a grid of sums"))
	}
	return plain, nil
}

var errMissing = errors.New("it is missing")

// HasSums reports whether the store has sums, or had them and they were removed.
func (r *Reader) HasSums() (bool, error) {
	has, err := r.hasSumRecords()
	if err != nil || has {
		return has, err
	}
	err = r.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
		has = sealedWithSums(r.keys(), key, sealed)
		return !has, r.step()
	})
	return has, err
}

func (r *Reader) hasSumRecords() (bool, error) {
	has, err := r.Has(rootKey)
	if err == nil && !has {
		has, err = r.Has(directoryKey)
	}
	return has, err
}

// Prepare writes the sums of a new store, and of one that was last written by a
// version of Fluxkeep without sums. If the sums of a store were removed, it
// returns a DamageError. sumHeads must write to each head the sums that
// Reader.MapSums returns.
func (db *DB) Prepare(ctx context.Context, sumHeads func(*Writer) error) error {
	prepared := false
	err := db.View(ctx, func(r *Reader) (err error) {
		if prepared, err = r.hasSumRecords(); err != nil || prepared {
			return err
		}
		removed, err := r.HasSums()
		if err == nil && removed {
			err = Damaged(rootKey, errMissing)
		}
		return err
	})
	if err != nil || prepared {
		return err
	}
	return db.rebuild(ctx, sumHeads)
}

// Accept writes the sums of the records that are there, whatever the sums were.
// sumHeads must write to each head the sums that Reader.MapSums returns.
func (db *DB) Accept(ctx context.Context, sumHeads func(*Writer) error) error {
	db.suspects.Store(nil)
	return db.rebuild(ctx, sumHeads)
}

func (db *DB) rebuild(ctx context.Context, sumHeads func(*Writer) error) error {
	return db.update(ctx, func(w *Writer) error {
		w.tx.Defer(&gridChanges{db: db, own: w.own, rebuild: true})
		return sumHeads(w)
	})
}

func (w *Writer) rebuildGrids() error {
	// A record that can't be opened is damaged with or without sums.
	skip := func(*DamageError) {}
	for _, part := range []struct {
		key    []byte
		size   int
		tables []Table
	}{{directoryKey, directorySize, directoryTables}, {rootKey, rootSize, rootTables}} {
		// What is there may not be readable, and need not be.
		if err := w.tx.Delete(part.key); err != nil {
			return err
		}
		g, err := w.sum(part.size, part.tables, skip)
		if err == nil {
			err = w.putGrid(part.key, g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	rootTables      = []Table{TableHead, TableOutbox, TableTaken, TableCheckpoint, TableClock, TableBackup, TableActivity, TableDirectory}
	directoryTables = []Table{TableOrg, TableOrgName, TableUser, TableUserName, TableToken, TableTokenHash, TableSession, TableSessionOf, TableMember, TableMemberOf, TableSetUp, TableImported}
)

// sum returns the grid over tables. A record that can't be opened is passed to
// damaged and left out.
func (r *Reader) sum(size int, tables []Table, damaged func(*DamageError)) (grid, error) {
	g := newGrid(size)
	for _, t := range tables {
		err := r.ScanPrefix(Key(t), func(key, sealed []byte) (bool, error) {
			if err := r.step(); err != nil {
				return false, err
			}
			var plain []byte
			if rewritten(t) {
				var err error
				if plain, err = r.open(key, sealed); err != nil {
					if damage := (*DamageError)(nil); errors.As(err, &damage) {
						damaged(damage)
						return true, nil
					}
					return false, err
				}
			}
			g.toggle(placeInGrid(key), r.element(key, plain))
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return g, nil
}

// MapSums returns the sums of the records that an organization's map m has. It
// opens only the state.
func (r *Reader) MapSums(org, m ID) (sums MapSums, err error) {
	add := func(table Table, id ID, sum *Sum) {
		if err != nil {
			return
		}
		err = r.ScanPrefix(Key(table, id), func(key, sealed []byte) (bool, error) {
			var plain []byte
			if rewritten(table) {
				if plain, err = r.Open(key, sealed); err != nil {
					return false, err
				}
			}
			sum.toggle(r.element(key, plain))
			return true, r.step()
		})
	}
	add(TableSecret, m, &sums.Secrets)
	add(TableVersion, m, &sums.History)
	add(TableChanges, m, &sums.History)
	add(TableState, org, &sums.History)
	return sums, err
}

// Count adds the record at key to a sum. Records of its table must never be
// rewritten.
func (r *Reader) Count(sum *Sum, key []byte) { sum.toggle(r.element(key, nil)) }
