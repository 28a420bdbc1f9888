package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Damage is something that Check found.
type Damage struct {
	What string // what is damaged, by kind and IDs
	Err  error
}

// CheckReport counts what Check has read.
type CheckReport struct {
	Records       int
	Organizations int
	Versions      int
	Secrets       int // secret records, of all versions
	Users         int
	Tokens        int
	Damaged       int
}

// Check reads every record of a store that no server has open, and tells
// found of each that can't be opened, decoded, or does not fit the others. It
// changes nothing, and goes on after damage. It takes no Caller: whoever runs
// it has the files and the key.
func Check(ctx context.Context, s store.Store, keys *seal.Keys, found func(Damage)) (CheckReport, error) {
	k := &Keep{store: s, now: time.Now}
	k.keys.Store(keys)
	c := &checker{found: found, versioned: make(map[ID]bool)}
	err := s.View(ctx, func(r store.Reader) error {
		c.view = &view{ctx: ctx, k: k, r: r, now: k.now()}
		if err := c.records(); err != nil {
			return err
		}
		c.directory()
		c.maps()
		return nil
	})
	return c.report, err
}

type checker struct {
	*view
	report    CheckReport
	found     func(Damage)
	orgs      []ID
	heads     []ID
	users     []ID
	tokens    []ID
	versioned map[ID]bool     // maps that have version records
	leads     []lead          // what lookup entries lead to
	bad       map[string]bool // what was told already
}

// lead is a lookup entry and the table of the object that it is for.
type lead struct {
	what  string
	table byte
	id    ID
}

func (c *checker) tell(what string, err error) {
	if c.bad == nil {
		c.bad = make(map[string]bool)
	}
	if c.bad[what] {
		return
	}
	c.bad[what] = true
	c.report.Damaged++
	c.found(Damage{what, err})
}

// check tells of err, by the name that it carries or else by what.
func (c *checker) check(what string, err error) {
	if err == nil {
		return
	}
	c.tell(what, cause(err))
}

// records opens each record by itself.
func (c *checker) records() error {
	err := c.r.Scan(nil, nil, func(k, sealed []byte) (bool, error) {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		c.report.Records++
		c.record(k, sealed)
		return true, nil
	})
	var corrupt *store.CorruptError
	if errors.As(err, &corrupt) {
		c.tell(corrupt.What, corrupt.Err)
		return nil
	}
	return err
}

func (c *checker) record(k, sealed []byte) {
	what := describeKey(k)
	plain, err := c.open(k, sealed)
	if err != nil {
		c.check(what, err)
		return
	}
	switch k[0] {
	case tableSecret:
		c.report.Secrets++
		_, name, _, err := decodeSecret(plain)
		if err == nil {
			h, v, ok := parseSecretKey(k)
			m, _ := idAt(k, 1)
			if !ok || c.k.secretHash(m, name) != h || v == 0 {
				err = errors.New("its key is of another name")
			}
		}
		c.check(what, err)
		return
	case tableVersion:
		c.report.Versions++
	}
	into, known := map[byte]any{
		tableHead: &headRecord{}, tableState: &stateRecord{}, tableVersion: &versionRecord{}, tableChanges: &[]change{},
		tableOrg: &orgRecord{}, tableOrgName: &entryRecord{}, tableUser: &userRecord{}, tableUserName: &entryRecord{},
		tableToken: &tokenRecord{}, tableTokenHash: &entryRecord{}, tableSession: &sessionRecord{}, tableUserOf: &entryRecord{},
		tableMember: &memberRecord{}, tableMemberOf: &memberRecord{}, tableOutbox: &json.RawMessage{}, tableCheckpoint: &json.RawMessage{},
	}[k[0]]
	if !known {
		c.tell(what, errors.New("no table has this key"))
		return
	}
	if err := json.Unmarshal(plain, into); err != nil {
		c.check(what, err)
		return
	}
	id, _ := idAt(k, 1)
	objects := map[byte]byte{tableOrgName: tableOrg, tableUserName: tableUser, tableTokenHash: tableToken}
	if entry, ok := into.(*entryRecord); ok && objects[k[0]] != 0 {
		c.leads = append(c.leads, lead{what, objects[k[0]], entry.ID})
	}
	switch k[0] {
	case tableVersion:
		c.versioned[id] = true
	case tableState:
		c.leads = append(c.leads, lead{what, tableHead, id})
	case tableOrg:
		c.orgs = append(c.orgs, id)
	case tableHead:
		c.heads = append(c.heads, id)
	case tableUser:
		c.users = append(c.users, id)
	case tableToken:
		c.tokens = append(c.tokens, id)
	}
}

// directory checks that each object fits its entries.
func (c *checker) directory() {
	c.report.Organizations, c.report.Users, c.report.Tokens = len(c.orgs), len(c.users), len(c.tokens)
	for _, id := range c.orgs {
		_, err := c.org(id)
		c.check(describeKey(key(tableOrg, id)), err)
		c.check("the members of organization "+id.String(), c.members(tableMember, id, func(ID, Role) error { return nil }))
	}
	for _, id := range c.users {
		_, err := c.user(id)
		c.check(describeKey(key(tableUser, id)), err)
		c.check("the memberships of user "+id.String(), c.memberships(id, func(ID, Role) error { return nil }))
	}
	for _, id := range c.tokens {
		_, err := c.token(id)
		c.check(describeKey(key(tableToken, id)), err)
	}
}

// maps checks that each kept version shows what its changes say.
func (c *checker) maps() {
	for _, l := range c.leads {
		if _, err := c.r.Get(key(l.table, l.id)); errors.Is(err, store.ErrNotFound) {
			c.tell(l.what, fmt.Errorf("%s, which it leads to, is missing", describeKey(key(l.table, l.id))))
		}
	}
	for _, org := range c.heads {
		what := describeKey(key(tableHead, org))
		h, s, err := c.head(org)
		if err != nil {
			c.check(what, err)
			continue
		}
		delete(c.versioned, h.Map)
		for _, n := range h.versions(s) {
			c.check(fmt.Sprintf("version %d of organization %s", n, org), c.checkVersion(h, s, n))
		}
	}
	for m := range c.versioned {
		c.tell("map "+m.String(), errors.New("no version counter leads to its versions"))
	}
}

// checkVersion counts what a version shows, and looks for the record of each
// change.
func (c *checker) checkVersion(h *headRecord, s *stateRecord, n uint64) error {
	r, err := c.version(h.Map, n)
	if err != nil {
		return err
	}
	changes, err := c.allChanges(h.Map, n, r)
	if err != nil {
		return err
	}
	if s.destroyed(n) {
		return nil
	}
	var missing []string
	for _, ch := range changes {
		if ch.Op.kind() != kindValue {
			continue
		}
		k := secretKey(h.Map, c.k.secretHash(h.Map, ch.Name), n)
		if _, err := c.r.Get(k); errors.Is(err, store.ErrNotFound) {
			missing = append(missing, describeKey(k))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of its secret records are missing", len(missing))
	}
	shown := 0
	err = c.scanVersion(h.Map, n, func(entry, string) error { shown++; return nil })
	if err != nil {
		return err
	}
	if shown != r.Count {
		return fmt.Errorf("it shows %d secrets and says %d", shown, r.Count)
	}
	if !slices.IsSortedFunc(changes, compareNames) {
		return errors.New("its changes are out of order")
	}
	return nil
}
