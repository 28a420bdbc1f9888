package record

import (
	"errors"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Suspects are records that can't be trusted, because they belong to a place of a
// grid where the sums are wrong: a record is missing, or was replaced by an older
// copy. The sums don't tell which one it is, but few records belong to the same
// place.
type Suspects struct {
	root, directory suspectGrid
	maps            []ID // the organizations whose maps have wrong sums
}

type suspectGrid struct {
	all         bool // the sums themselves can't be trusted
	want, found grid
}

func (g *suspectGrid) has(key []byte) bool {
	return g.all || len(g.want) > 0 && g.want.differs(g.found, key)
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
	// Records of maps are only reached through heads. Records that the audit log
	// needs are reported but used: a server that can't log can't serve.
	return false
}

// ErrSuspect is what a DamageError wraps if the record itself may be sound: the sums
// are wrong at its place, which it shares with others.
var ErrSuspect = errors.New("an older copy took its place, or a record is missing")

// suspect returns a DamageError if the record at key can't be trusted, whether
// or not it exists.
func (db *DB) suspect(key []byte) error {
	if s := db.suspects.Load(); s != nil && s.has(key) {
		return Damaged(key, ErrSuspect)
	}
	return nil
}

// trust returns a DamageError if the record at key can't be trusted.
func (r *Reader) trust(key []byte) error {
	if r.pause != nil {
		return nil
	}
	return r.db.suspect(key)
}

// TrustMap returns a DamageError if an organization's head can't be trusted. It is
// for caches of heads; reads of records check this themselves.
func (r *Reader) TrustMap(org ID) error {
	if r.pause != nil || r.db.suspects.Load() == nil {
		return nil
	}
	return r.db.suspect(Key(TableHead, org))
}

// Distrust makes transactions refuse the records that VerifySums returned, and
// the maps of organizations whose sums are wrong. It replaces what an earlier
// call said.
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

// maxNamed is how many suspect records VerifySums names.
const maxNamed = 1000

// VerifySums compares the sums of the root and the directory with the records
// that are there. It calls damaged for each record that is wrong or may be, and
// returns the records that can't be trusted, nil if there are none. It doesn't
// verify the sums of maps; see MapSums.
func (r *Reader) VerifySums(damaged func(*DamageError)) (*Suspects, error) {
	known := map[string]bool{}
	tell := func(d *DamageError) {
		if len(known) == maxNamed {
			d = &DamageError{What: "more of the store", Err: ErrSuspect, Unnamed: true}
		}
		if len(known) <= maxNamed && !known[d.What] {
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

// verifyGrid compares the grid at key with the records of its tables. suspect
// says that the grid itself can't be trusted.
func (r *Reader) verifyGrid(key []byte, size int, tables []Table, suspect bool, tell func(*DamageError)) (suspectGrid, error) {
	found, err := r.sum(size, tables, tell)
	if err != nil {
		return suspectGrid{}, err
	}
	want, err := r.readGrid(key, size)
	if damage := (*DamageError)(nil); errors.As(err, &damage) {
		tell(damage)
		return suspectGrid{all: true}, nil
	}
	if err != nil {
		return suspectGrid{}, err
	}
	g := suspectGrid{suspect, want, found}
	if want.equal(found) {
		return g, nil
	}
	return g, r.nameSuspects(g, tables, tell)
}

// readGrid is grid, whether or not the record can be trusted.
func (r *Reader) readGrid(key []byte, size int) (grid, error) {
	sealed, err := r.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, Damaged(key, errMissing)
	}
	if err != nil {
		return nil, err
	}
	plain, err := r.open(key, sealed)
	if err != nil {
		return nil, err
	}
	return parseGrid(key, size, plain)
}

// nameSuspects names the suspect records. An organization whose head is missing
// is named too if the head's place is suspect.
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
			name(key, ErrSuspect)
			return true, r.step()
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
