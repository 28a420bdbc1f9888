package secretmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Checker looks for damage in all maps of a store. It checks each record alone
// and then compares them with each other.
type Checker struct {
	r    *record.Reader
	maps *Maps

	heads     []ID
	states    []ID
	versioned map[ID]bool // maps that have version records
	headsLost int         // heads that can't be read
	versions  int
	secrets   int
}

// NewChecker returns a checker for what a transaction reads.
func NewChecker(r *record.Reader) (*Checker, error) {
	m, err := New(Options{})
	return &Checker{maps: m, r: r, versioned: map[ID]bool{}}, err
}

// Versions returns how many versions there are.
func (c *Checker) Versions() int { return c.versions }

// Secrets returns how many secret records there are, of all versions.
func (c *Checker) Secrets() int { return c.secrets }

// Unread reports a record that can't be opened.
func (c *Checker) Unread(key []byte) {
	if record.TableOf(key) == record.TableHead {
		c.headsLost++
	}
}

// Record checks one record. ok is false if the record is not part of a map.
func (c *Checker) Record(key, plain []byte) (ok bool, err error) {
	id, _ := record.IDAt(key, 1)
	switch record.TableOf(key) {
	case record.TableHead:
		if err = json.Unmarshal(plain, new(headRecord)); err == nil {
			c.heads = append(c.heads, id)
		}
	case record.TableState:
		if err = json.Unmarshal(plain, new(stateRecord)); err == nil {
			c.states = append(c.states, id)
		}
	case record.TableVersion:
		if err = json.Unmarshal(plain, new(versionRecord)); err == nil {
			c.versions++
			c.versioned[id] = true
		}
	case record.TableChanges:
		err = json.Unmarshal(plain, new([]change))
	case record.TableSecret:
		c.secrets++
		err = c.secret(key, id, plain)
	default:
		return false, nil
	}
	return true, err
}

func (c *Checker) secret(key []byte, m ID, plain []byte) error {
	s, err := decodeSecret(plain)
	if err != nil {
		return err
	}
	if h, v, ok := record.ParseSecretKey(key); !ok || c.r.DB().SecretHash(m, s.name) != h || v == 0 {
		return errors.New("its key belongs to another name")
	}
	return nil
}

// Compare checks that the records fit together, and that each existing version
// shows what its changes say.
func (c *Checker) Compare(f *record.Findings) {
	for _, org := range c.states {
		head := record.Key(record.TableHead, org)
		if ok, err := c.r.Has(head); err == nil && !ok {
			c.headsLost++
			f.Add(record.Describe(record.Key(record.TableState, org)), fmt.Errorf("%s, which it points to, is missing", record.Describe(head)))
		}
	}
	for _, org := range c.heads {
		c.compareMap(org, f)
	}
	for m := range c.versioned {
		// Only if no head is known to be lost: it may have pointed to them.
		if c.headsLost == 0 {
			f.Add("map "+m.String(), errors.New("no version counter points to its versions"))
		}
	}
}

func (c *Checker) compareMap(org ID, f *record.Findings) {
	// The head says which map is the organization's, whatever else is wrong
	// with it.
	key := record.Key(record.TableHead, org)
	var own headRecord
	if sealed, err := c.r.Sealed(key); err == nil && c.r.OpenJSON(key, sealed, &own) == nil {
		delete(c.versioned, own.Map)
	}
	m, err := c.maps.Read(c.r, org)
	if err != nil {
		f.Check(record.Describe(key), err)
		return
	}
	told := false
	for _, n := range m.head.versions(m.state) {
		err := m.compareVersion(n)
		if told && !errors.As(err, new(*record.DamageError)) {
			continue // records missing in one version are missing in later ones
		}
		told = f.Check(fmt.Sprintf("version %d of organization %s", n, org), err) || told
	}
}

// compareVersion counts the secrets that a version shows, and looks for the
// record of each change.
func (m *Map) compareVersion(n uint64) error {
	id := m.head.Map
	r, err := m.version(id, n)
	if err != nil {
		return err
	}
	changes, err := m.allChanges(id, n, r)
	if err != nil {
		return err
	}
	if m.state.destroyed(n) {
		return nil
	}
	missing := 0
	for _, ch := range changes {
		if ch.Op.kind() != kindValue {
			continue
		}
		k := record.SecretKey(id, m.r.DB().SecretHash(id, ch.Name), n)
		if ok, err := m.r.Has(k); err == nil && !ok {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of its secret records are missing", missing)
	}
	shown := 0
	err = m.scanVersion(id, n, func(secretRecord) error { shown++; return nil })
	if err != nil {
		return err
	}
	if shown != r.Count {
		return fmt.Errorf("it shows %d secrets but claims %d", shown, r.Count)
	}
	if !slices.IsSortedFunc(changes, compareNames) {
		return errors.New("its changes are out of order")
	}
	return nil
}
