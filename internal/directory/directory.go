package directory

import (
	"errors"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

type (
	// ID identifies an organization, a user or a token.
	ID = record.ID
	// Hash is the keyed hash under which a name, a token or a session is stored.
	Hash = record.Hash
)

var (
	ErrOrganizationNotFound = &errcode.Error{Code: errcode.NotFound, Message: "organization not found"}
	ErrUserNotFound         = &errcode.Error{Code: errcode.NotFound, Message: "user not found"}
	ErrTokenNotFound        = &errcode.Error{Code: errcode.NotFound, Message: "authorization not found"}
	// ErrUnauthenticated rejects a credential without saying why.
	ErrUnauthenticated = &errcode.Error{Code: errcode.Unauthorized, Message: "unauthorized access"}
	ErrUserInactive    = &errcode.Error{Code: errcode.Forbidden, Message: "User is inactive"}
)

// Directory is the directory of a store. It is safe for concurrent use.
type Directory struct {
	db      *record.DB
	current atomic.Pointer[snapshot]
	damaged func(error)
}

// New returns the directory of a store.
func New(db *record.DB) *Directory { return &Directory{db: db, damaged: func(error) {}} }

// OnDamage sets the function that is called with each damaged object that the
// directory skips. Call it before using the directory.
func (d *Directory) OnDamage(fn func(error)) { d.damaged = fn }

// SkipDamaged reports a DamageError and returns nil for it; it returns any other
// error. Lists use it to skip damaged objects, so one of them doesn't hide the
// others.
func (d Reader) SkipDamaged(err error) error {
	if _, ok := errors.AsType[*record.DamageError](err); ok {
		d.d.damaged(err)
		return nil
	}
	return err
}

// Reader reads the directory within one transaction.
type Reader struct {
	d *Directory
	r *record.Reader
}

// Writer reads and changes the directory within one transaction.
type Writer struct {
	Reader
	w *record.Writer
}

// Read returns a Reader for the transaction of r.
func (d *Directory) Read(r *record.Reader) Reader { return Reader{d, r} }

// Write returns a Writer for the transaction of w.
func (d *Directory) Write(w *record.Writer) Writer { return Writer{d.Read(&w.Reader), w} }

// IsSetUp reports whether a user or an organization exists or ever existed.
func (d Reader) IsSetUp() (bool, error) {
	found := false
	for _, table := range []record.Table{record.TableSetUp, record.TableUser, record.TableOrg} {
		err := d.r.ScanPrefix(record.Key(table), func(_, _ []byte) (bool, error) {
			found = true
			return false, nil
		})
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// markSetUp makes IsSetUp true even after the last user and the last
// organization are deleted.
func (d Writer) markSetUp() error { return d.w.PutJSON(record.Key(record.TableSetUp), true) }
