package keep

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Damage is damage that Check found.
type Damage struct {
	What string // the damaged object, by kind and IDs
	Err  error
}

// CheckReport counts the data that Check read.
type CheckReport struct {
	Records       int
	Organizations int
	Versions      int
	Secrets       int // secret records, of all versions
	Users         int
	Tokens        int
	Damaged       int
	// Misplaced lists tokens with a permission that combines a resource's ID with
	// an organization that the resource doesn't belong to.
	Misplaced []ID
}

// Check reads every record of a store that no server has open, and calls found
// with each that can't be opened or decoded or is inconsistent with others. It
// reports each damage once, without its consequences elsewhere. It changes
// nothing and continues after damage. It takes no Caller: anyone who can run it
// has the files and the key. shared is Config.SharedKeys.
func Check(ctx context.Context, s store.Store, keys *seal.Keys, shared *SharedKeys, found func(Damage)) (CheckReport, error) {
	c := &checker{
		found: record.NewFindings(func(what string, err error) { found(Damage{what, err}) }),
	}
	err := offlineRecords(s, keys, shared).View(ctx, func(r *record.Reader) (err error) {
		c.view = &view{Reader: r, dir: directory.New(r.DB()).Read(r)}
		c.directory = directory.NewChecker(c.dir)
		if c.maps, err = secretmap.NewChecker(r); err != nil {
			return err
		}
		if err := c.records(); err != nil {
			return err
		}
		c.directory.Compare(c.found)
		c.misplacedTokens()
		c.maps.Compare(c.found)
		return c.sums()
	})
	c.report.Organizations, c.report.Users, c.report.Tokens = len(c.directory.Organizations()), len(c.directory.Users()), len(c.directory.Tokens())
	c.report.Versions, c.report.Secrets, c.report.Damaged = c.maps.Versions(), c.maps.Secrets(), c.found.Count()
	return c.report, err
}

// Accept recomputes the sums of a store that no server has open, so that its
// records are trusted as they are. It stores an audit record, which the next Open of
// the server moves to its audit log; server is 0 if the store is its own. Like Check, it
// takes no Caller.
func Accept(ctx context.Context, s store.Store, keys *seal.Keys, shared *SharedKeys, server ID) error {
	c := Offline()
	rec := c.record("damage.accept", 0)
	rec.ID, rec.Outcome = audit.NewIDs().Next(), audit.Allowed
	return offlineRecords(s, keys, shared).Accept(ctx, func(w *record.Writer) error {
		rec.Time = w.Now
		if err := w.Put(outboxKey(server, rec.ID), rec.Append(nil)); err != nil {
			return err
		}
		return secretmap.WriteSums(w)
	})
}

type checker struct {
	*view
	directory *directory.Checker
	maps      *secretmap.Checker
	report    CheckReport
	found     *record.Findings
}

// records checks each record by itself.
func (c *checker) records() error {
	err := c.Scan(nil, nil, func(k, sealed []byte) (bool, error) {
		if err := c.Context().Err(); err != nil {
			return false, err
		}
		c.report.Records++
		c.record(k, sealed)
		return true, nil
	})
	if corrupt, ok := errors.AsType[*store.CorruptError](err); ok {
		c.found.Add(corrupt.What, corrupt.Err)
		return nil
	}
	return err
}

// record reports the record if it is damaged, even if another one with the same
// description was reported.
func (c *checker) record(k, sealed []byte) {
	plain, err := c.Open(k, sealed)
	if err == nil {
		err = c.decode(k, plain)
	}
	if err == nil {
		return
	}
	if d, ok := errors.AsType[*record.DamageError](err); ok {
		err = d.Err
	}
	c.found.Add(record.Describe(k), err)
	c.maps.Unread(k)
	c.directory.Unread(k)
}

// decode checks a record by itself. The checkers collect what they later compare
// with other records.
func (c *checker) decode(k, plain []byte) error {
	if ok, err := c.maps.Record(k, plain); ok {
		return err
	}
	if ok, err := c.directory.Record(k, plain); ok {
		return err
	}
	switch record.TableOf(k) {
	case record.TableOutbox, record.TableTaken, record.TableCheckpoint, record.TableClock, record.TableBackup:
		return json.Unmarshal(plain, new(json.RawMessage))
	case record.TableActivity:
		return json.Unmarshal(plain, new(activityRecord))
	case record.TableImported:
		return json.Unmarshal(plain, new(pastRecord))
	case record.TableRoot, record.TableDirectory:
		return nil // sums compares them
	}
	return errors.New("its key belongs to no table")
}

// misplacedTokens collects the tokens with a misplaced permission.
func (c *checker) misplacedTokens() {
	for _, id := range c.directory.Tokens() {
		// Damage to the token or the resource has been reported.
		if t, err := c.dir.Token(id); err == nil {
			if found, _ := c.misplaced(&t); found {
				c.report.Misplaced = append(c.report.Misplaced, id)
			}
		}
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
	for _, org := range c.directory.Organizations() {
		c.found.Check("the secrets of organization "+org.String(), secretmap.Verify(c.Reader, org))
	}
	return nil
}
