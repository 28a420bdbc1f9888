package directory

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Checker looks for damage in the directory. Pass it every record first, then
// call Compare.
type Checker struct {
	d        Reader
	orgs     []ID
	users    []ID
	tokens   []ID
	members  map[membership][2]uint64 // the revisions of both records, see record.CheckRevisions
	sessions map[Hash]foundSession
	entries  []entry
}

type membership struct{ org, user ID }

// foundSession has the revisions of both records of a session, plus one. 0 means
// that the record was not found.
type foundSession struct {
	owner            ID
	revision, mirror uint64
	unread           bool
}

// entry is a lookup entry and the object that it points to.
type entry struct {
	what  string
	table record.Table
	id    ID
}

// NewChecker returns a Checker that reads from d.
func NewChecker(d Reader) *Checker {
	return &Checker{d: d, members: map[membership][2]uint64{}, sessions: map[Hash]foundSession{}}
}

// Organizations, Users and Tokens return the IDs of the records found.

func (c *Checker) Organizations() []ID { return c.orgs }
func (c *Checker) Users() []ID         { return c.users }
func (c *Checker) Tokens() []ID        { return c.tokens }

// Unread notes a record that can't be opened.
func (c *Checker) Unread(key []byte) {
	if h, _, ok := sessionKey(key); ok {
		s := c.sessions[h]
		s.unread = true
		c.sessions[h] = s
	}
}

// Record checks a single record. ok is false if the record isn't part of the
// directory.
func (c *Checker) Record(key, plain []byte) (ok bool, err error) {
	id, _ := record.IDAt(key, 1)
	switch table := record.TableOf(key); table {
	case record.TableOrg:
		if err = json.Unmarshal(plain, new(orgRecord)); err == nil {
			c.orgs = append(c.orgs, id)
		}
	case record.TableUser:
		if err = json.Unmarshal(plain, new(userRecord)); err == nil {
			c.users = append(c.users, id)
		}
	case record.TableToken:
		if err = json.Unmarshal(plain, new(tokenRecord)); err == nil {
			c.tokens = append(c.tokens, id)
		}
	case record.TableOrgName, record.TableUserName, record.TableTokenHash:
		var r entryRecord
		if err = json.Unmarshal(plain, &r); err == nil {
			c.entries = append(c.entries, entry{record.Describe(key), objectsOf(table), r.ID})
		}
	case record.TableSession:
		var r sessionRecord
		if err = json.Unmarshal(plain, &r); err == nil {
			c.session(key, func(s *foundSession, _ ID) { s.owner, s.revision = r.owner(), r.Revision+1 })
		}
	case record.TableSessionOf:
		var r entryRecord
		if err = json.Unmarshal(plain, &r); err == nil {
			c.session(key, func(s *foundSession, owner ID) { s.owner, s.mirror = owner, r.Revision+1 })
		}
	case record.TableMember, record.TableMemberOf:
		var r memberRecord
		if err = json.Unmarshal(plain, &r); err == nil {
			c.member(key, id, r)
		}
	case record.TableSetUp:
		err = json.Unmarshal(plain, new(bool))
	default:
		return false, nil
	}
	return true, err
}

func (c *Checker) session(key []byte, note func(s *foundSession, owner ID)) {
	if h, owner, ok := sessionKey(key); ok {
		s := c.sessions[h]
		note(&s, owner)
		c.sessions[h] = s
	}
}

func (c *Checker) member(key []byte, first ID, r memberRecord) {
	second, _ := record.IDAt(key, 9)
	m, side := membership{first, second}, 0
	if record.TableOf(key) == record.TableMemberOf {
		m, side = membership{second, first}, 1
	}
	both := c.members[m]
	both[side] = r.Revision
	c.members[m] = both
}

// Compare checks that objects and lookup entries match.
func (c *Checker) Compare(found *record.Findings) {
	for _, l := range c.entries {
		if ok, err := c.d.r.Has(record.Key(l.table, l.id)); err == nil && !ok {
			found.Add(l.what, fmt.Errorf("%s, which it leads to, is missing", record.Describe(record.Key(l.table, l.id))))
		}
	}
	for _, id := range c.orgs {
		_, err := c.d.org(id)
		found.Check(record.Describe(record.Key(record.TableOrg, id)), err)
	}
	for _, id := range c.users {
		_, err := c.d.user(id)
		found.Check(record.Describe(record.Key(record.TableUser, id)), err)
	}
	for _, id := range c.tokens {
		_, err := c.d.token(id)
		found.Check(record.Describe(record.Key(record.TableToken, id)), err)
	}
	for m, revisions := range c.members {
		k := record.Key(record.TableMember, m.org, m.user)
		found.Check(record.Describe(k), record.CheckRevisions(k, revisions[0], revisions[1]))
	}
	for h, s := range c.sessions {
		if s.unread || s.revision == s.mirror {
			continue
		}
		found.Add(record.Describe(record.SessionOfKey(s.owner, h)), errors.New("its two records are not of the same time"))
	}
}
