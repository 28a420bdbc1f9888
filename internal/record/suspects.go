package record

import (
	"errors"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Suspects are records that can't be trusted: where they stand in the sums, a
// record is missing or was replaced by an older copy. Which one can't be told,
// but there are few others in the same place.
type Suspects struct {
	root, directory suspectGrid
	maps            []ID // the organizations whose maps have wrong sums
}

type suspectGrid struct {
	all         bool // the sums themselves can't be trusted
	want, found grid
}

func (g *suspectGrid) has(key []byte) bool {
	return g.all || len(g.want.rows) > 0 && g.want.differs(g.found, key)
}

func (s *Suspects) has(key []byte) bool {
	switch t := TableOf(key); {
	case t == TableHead:
		return s.root.has(key) || slices.Contains(s.maps, mustID(key))
	case t == TableDirectory:
		return s.root.has(key)
	case slices.Contains(directoryTables, t):
		return s.directory.has(key)
	}
	// The heads answer for the records of their maps. What the audit log needs
	// is reported, and used: a server that can't log can't serve.
	return false
}

var errSums = errors.New("it was replaced by an older copy, or a record is missing")

// suspect returns a DamageError if the record at key can't be trusted, whether
// it is there or not.
func (db *DB) suspect(key []byte) error {
	if s := db.suspects.Load(); s != nil && s.has(key) {
		return Damaged(key, errSums)
	}
	return nil
}

// Trust returns a DamageError if the record at key can't be trusted. It is for
// what is remembered of records; whoever reads one is told anyway.
func (r *Reader) Trust(key []byte) error {
	if r.inspecting {
		return nil
	}
	return r.db.suspect(key)
}

// Distrust makes transactions refuse the records that VerifySums returned, and
// the maps of organizations whose sums were found to be wrong.
func (db *DB) Distrust(s *Suspects, maps []ID) {
	if s == nil && len(maps) == 0 {
		db.suspects.Store(nil)
		return
	}
	now := Suspects{maps: maps}
	if s != nil {
		now.root, now.directory = s.root, s.directory
	}
	db.suspects.Store(&now)
}

// VerifySums compares the sums of the root and the directory with the records
// that there are, and calls damaged with what is wrong, record by record where
// that can be told. It returns the records that can't be trusted, nil if there
// are none. The sums of maps are not looked at, see MapSums.
func (r *Reader) VerifySums(damaged func(*DamageError)) (*Suspects, error) {
	known := map[string]bool{}
	tell := func(d *DamageError) {
		if !known[d.What] {
			known[d.What] = true
			damaged(d)
		}
	}
	s := &Suspects{}
	var err error
	if s.root, err = r.verifyGrid(rootKey, rootSize, rootTables, false, tell); err != nil {
		return nil, err
	}
	if s.directory, err = r.verifyGrid(directoryKey, directorySize, directoryTables, s.root.has(directoryKey), tell); err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, nil
	}
	return s, nil
}

// verifyGrid compares the grid at key, which suspect says can't be trusted.
func (r *Reader) verifyGrid(key []byte, size int, tables []Table, suspect bool, tell func(*DamageError)) (suspectGrid, error) {
	found, err := r.sum(size, tables, tell)
	if err != nil {
		return suspectGrid{}, err
	}
	want, damage, err := r.readGrid(key, size)
	switch {
	case err != nil:
		return suspectGrid{}, err
	case damage != nil:
		tell(damage)
		return suspectGrid{all: true}, nil
	}
	g := suspectGrid{suspect, want, found}
	if want.equal(found) {
		return g, nil
	}
	return g, r.nameSuspects(g, tables, tell)
}

// readGrid is grid for somebody who finds out what can be trusted.
func (r *Reader) readGrid(key []byte, size int) (grid, *DamageError, error) {
	sealed, err := r.store.Get(key)
	var plain []byte
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = Damaged(key, errMissing)
	case err == nil:
		plain, err = r.db.open(key, sealed)
	}
	g := newGrid(size)
	if err == nil {
		if e := g.read(plain); e != nil {
			err = Damaged(key, e)
		}
	}
	if damage := (*DamageError)(nil); errors.As(err, &damage) {
		return grid{}, damage, nil
	}
	return g, nil, err
}

// nameSuspects names the records that stand where the sums are wrong. The head
// that an organization could have had stands there too.
func (r *Reader) nameSuspects(g suspectGrid, tables []Table, tell func(*DamageError)) error {
	named := false
	name := func(key []byte, err error) {
		if g.has(key) {
			tell(&DamageError{What: Describe(key), Err: err})
			named = true
		}
	}
	for _, t := range tables {
		err := r.ScanPrefix(Key(t), func(key, _ []byte) (bool, error) {
			name(key, errSums)
			return true, r.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	if slices.Contains(tables, TableHead) {
		err := r.ScanIDs(TableOrg, func(org ID) error {
			key := Key(TableHead, org)
			has, err := r.Has(key)
			if err == nil && !has {
				name(key, errMissing)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !named {
		tell(&DamageError{What: missingFrom(tables), Err: errMissing, Unnamed: true})
	}
	return nil
}

func missingFrom(tables []Table) string {
	if slices.Contains(tables, TableHead) {
		return "an organization's version counter or an audit record in the store"
	}
	return "a record of an organization, a user, a token, a membership or a session"
}
