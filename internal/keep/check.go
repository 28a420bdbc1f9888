package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
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
	// Misplaced are the tokens with a permission that names a resource by its
	// ID and an organization that it doesn't belong to.
	Misplaced []ID
}

// Check reads every record of a store that no server has open, and tells
// found of each that can't be opened, decoded, or does not fit the others. Each
// damage is told once, and not what follows from it elsewhere. It changes
// nothing, and goes on after damage. It takes no Caller: whoever runs
// it has the files and the key.
func Check(ctx context.Context, s store.Store, keys *seal.Keys, found func(Damage)) (CheckReport, error) {
	c := &checker{
		found:   record.NewFindings(func(what string, err error) { found(Damage{what, err}) }),
		members: map[membership][2]uint64{}, sessions: map[record.Hash]foundSession{},
	}
	err := record.New(s, keys, time.Now).View(ctx, func(r *record.Reader) (err error) {
		c.view = &view{Reader: r}
		if c.maps, err = secretmap.NewChecker(r); err != nil {
			return err
		}
		if err := c.records(); err != nil {
			return err
		}
		c.directory()
		c.maps.Compare(c.found)
		return c.sums()
	})
	c.report.Versions, c.report.Secrets, c.report.Damaged = c.maps.Versions(), c.maps.Secrets(), c.found.Count()
	return c.report, err
}

type checker struct {
	*view
	maps     *secretmap.Checker
	report   CheckReport
	found    *record.Findings
	orgs     []ID
	users    []ID
	tokens   []ID
	members  map[membership][2]uint64 // the revisions of both records, see record.CheckRevisions
	sessions map[record.Hash]foundSession
	leads    []lead // what lookup entries lead to
}

type membership struct{ org, user ID }

// foundSession has the revisions of both records of a session, plus one: 0 says
// that the record was not found.
type foundSession struct {
	user             ID
	revision, mirror uint64
	unread           bool
}

// lead is a lookup entry and the table of the object that it is for.
type lead struct {
	what  string
	table record.Table
	id    ID
}

// records opens each record by itself.
func (c *checker) records() error {
	err := c.Scan(nil, nil, func(k, sealed []byte) (bool, error) {
		if err := c.Context().Err(); err != nil {
			return false, err
		}
		c.report.Records++
		c.record(k, sealed)
		return true, nil
	})
	var corrupt *store.CorruptError
	if errors.As(err, &corrupt) {
		c.found.Add(corrupt.What, corrupt.Err)
		return nil
	}
	return err
}

// record tells of each record that is damaged in itself, also of two that have
// the same description.
func (c *checker) record(k, sealed []byte) {
	plain, err := c.Open(k, sealed)
	if err == nil {
		err = c.decode(k, plain)
	}
	if err == nil {
		return
	}
	var d *record.DamageError
	if errors.As(err, &d) {
		err = d.Err
	}
	c.found.Add(record.Describe(k), err)
	c.maps.Unread(k)
	if h, _, ok := sessionKey(k); ok {
		s := c.sessions[h]
		s.unread = true
		c.sessions[h] = s
	}
}

// sessionKey returns whose session a key is for. The user is not in the key of
// the session itself.
func sessionKey(k []byte) (h record.Hash, user ID, ok bool) {
	switch {
	case record.TableOf(k) == record.TableSession && len(k) == 1+len(h):
		copy(h[:], k[1:])
	case record.TableOf(k) == record.TableSessionOf && len(k) == 9+len(h):
		copy(h[:], k[9:])
		user, _ = record.IDAt(k, 1)
	default:
		return h, 0, false
	}
	return h, user, true
}

// decode checks what a record says by itself, and notes what others must say
// too.
func (c *checker) decode(k, plain []byte) error {
	if ok, err := c.maps.Record(k, plain); ok {
		return err
	}
	if t := record.TableOf(k); t == record.TableRoot || t == record.TableDirectory {
		return nil // sums compares them
	}
	into := newRecord(record.TableOf(k))
	if into == nil {
		return errors.New("no table has this key")
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return err
	}
	c.note(k, into)
	return nil
}

// newRecord returns what a record of a table is decoded into, nil when there is
// no such table.
func newRecord(table record.Table) any {
	switch table {
	case record.TableOrg:
		return new(orgRecord)
	case record.TableUser:
		return new(userRecord)
	case record.TableToken:
		return new(tokenRecord)
	case record.TableSession:
		return new(sessionRecord)
	case record.TableOrgName, record.TableUserName, record.TableTokenHash, record.TableSessionOf:
		return new(entryRecord)
	case record.TableMember, record.TableMemberOf:
		return new(memberRecord)
	case record.TableOutbox, record.TableCheckpoint, record.TableClock, record.TableSetUp:
		return new(json.RawMessage)
	}
	return nil
}

// note keeps what is compared when all records are read.
func (c *checker) note(k []byte, decoded any) {
	id, _ := record.IDAt(k, 1)
	switch r := decoded.(type) {
	case *entryRecord:
		if table, ok := map[record.Table]record.Table{record.TableOrgName: record.TableOrg, record.TableUserName: record.TableUser, record.TableTokenHash: record.TableToken}[record.TableOf(k)]; ok {
			c.leads = append(c.leads, lead{record.Describe(k), table, r.ID})
		} else if h, user, ok := sessionKey(k); ok {
			s := c.sessions[h]
			s.user, s.mirror = user, r.Revision+1
			c.sessions[h] = s
		}
	case *sessionRecord:
		if h, _, ok := sessionKey(k); ok {
			s := c.sessions[h]
			s.user, s.revision = r.User, r.Revision+1
			c.sessions[h] = s
		}
	case *memberRecord:
		second, _ := record.IDAt(k, 9)
		at, side := membership{id, second}, 0
		if record.TableOf(k) == record.TableMemberOf {
			at, side = membership{second, id}, 1
		}
		both := c.members[at]
		both[side] = r.Revision
		c.members[at] = both
	case *orgRecord:
		c.orgs = append(c.orgs, id)
	case *userRecord:
		c.users = append(c.users, id)
	case *tokenRecord:
		c.tokens = append(c.tokens, id)
	}
}

// directory checks that each object fits its entries.
func (c *checker) directory() {
	for _, l := range c.leads {
		if ok, err := c.Has(record.Key(l.table, l.id)); err == nil && !ok {
			c.found.Add(l.what, fmt.Errorf("%s, which it leads to, is missing", record.Describe(record.Key(l.table, l.id))))
		}
	}
	c.report.Organizations, c.report.Users, c.report.Tokens = len(c.orgs), len(c.users), len(c.tokens)
	for _, id := range c.orgs {
		_, err := c.org(id)
		c.found.Check(record.Describe(record.Key(record.TableOrg, id)), err)
	}
	for _, id := range c.users {
		_, err := c.user(id)
		c.found.Check(record.Describe(record.Key(record.TableUser, id)), err)
	}
	for _, id := range c.tokens {
		r, err := c.token(id)
		c.found.Check(record.Describe(record.Key(record.TableToken, id)), err)
		if err == nil {
			// What is damaged about the resource is told by itself.
			if found, _ := c.misplaced(r); found {
				c.report.Misplaced = append(c.report.Misplaced, id)
			}
		}
	}
	for m, revisions := range c.members {
		k := record.Key(record.TableMember, m.org, m.user)
		c.found.Check(record.Describe(k), record.CheckRevisions(k, revisions[0], revisions[1]))
	}
	for h, s := range c.sessions {
		if s.unread || s.revision == s.mirror {
			continue
		}
		c.found.Add(record.Describe(record.SessionOfKey(s.user, h)), errors.New("its two records are not of the same time"))
	}
}

// sums compares the sums of the store with its records. It comes last, because it
// can't always tell which record is missing.
func (c *checker) sums() error {
	if ok, err := c.HasSums(); err != nil || !ok {
		return err // a store from before there were sums gets them at its next start
	}
	before := c.found.Count()
	_, err := c.VerifySums(func(d *record.DamageError) {
		if !d.Unnamed || c.found.Count() == before && before == 0 {
			c.found.Check(d.What, d)
		}
	})
	if err != nil {
		return err
	}
	for _, org := range c.orgs {
		c.found.Check("the secrets of organization "+org.String(), secretmap.Verify(c.Reader, org))
	}
	return nil
}
