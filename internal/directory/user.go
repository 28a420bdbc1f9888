package directory

import (
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// User is a user who can sign in and own tokens.
type User struct {
	ID      ID
	Name    string
	Active  bool
	Created time.Time
	Updated time.Time
}

// Account is a user with the fields that are never shown.
type Account struct {
	User
	Owner    bool   // owns the instance: created at setup
	Password []byte // a bcrypt hash; nil: the user can't sign in
}

func (d Reader) userHash(name string) Hash { return d.r.Hash("user", name) }

// user returns a user's record, nil if there is none.
func (d Reader) user(id ID) (*userRecord, error) {
	r, err := record.Load[userRecord](d.r, record.Key(record.TableUser, id))
	if err != nil || r == nil {
		return nil, err
	}
	return r, d.checkEntry(record.TableUserName, d.userHash(r.Name), id, r.Revision)
}

// Account returns a user's account, or ErrUserNotFound.
func (d Reader) Account(id ID) (Account, error) {
	r, err := d.user(id)
	if err != nil {
		return Account{}, err
	}
	if r == nil {
		return Account{}, ErrUserNotFound
	}
	u := User{ID: id, Name: r.Name, Active: !r.Inactive, Created: r.Created, Updated: r.Updated}
	return Account{u, r.Owner, r.Password}, nil
}

// User returns a user, or ErrUserNotFound.
func (d Reader) User(id ID) (User, error) {
	a, err := d.Account(id)
	return a.User, err
}

// activeUser returns an active user, or ErrUserInactive.
func (d Reader) activeUser(id ID) (Account, error) {
	a, err := d.Account(id)
	if errors.Is(err, ErrUserNotFound) || err == nil && !a.Active {
		return Account{}, ErrUserInactive
	}
	return a, err
}

// UserNamed returns the user with a name, 0 if there is none.
func (d Reader) UserNamed(name string) (ID, error) {
	return d.idOf(record.TableUserName, d.userHash(name))
}

// EachUser calls fn with the ID of each user, in order.
func (d Reader) EachUser(fn func(ID) error) error { return d.r.ScanIDs(record.TableUser, fn) }

// NewUserID returns an unused ID. IDs sort in the order of their creation.
func (d Writer) NewUserID() (ID, error) { return d.w.NewID(record.TableUser) }

// PutAccount creates or replaces a user.
func (d Writer) PutAccount(a Account) error {
	old, err := d.user(a.ID)
	if err != nil {
		return err
	}
	r := &userRecord{
		Name: a.Name, Inactive: !a.Active, Owner: a.Owner, Password: a.Password, Created: a.Created, Updated: a.Updated,
	}
	var before Hash
	if old != nil {
		r.Revision, before = old.Revision+1, d.userHash(old.Name)
	}
	h := d.userHash(r.Name)
	if err := d.takeName(record.TableUserName, before, h, "user", r.Name); err != nil {
		return err
	}
	return d.put(record.TableUserName, h, a.ID, r.Revision, r)
}

// DeleteUser removes a user and the user's memberships. It returns
// ErrUserNotFound if there is none.
func (d Writer) DeleteUser(id ID) error {
	u, err := d.User(id)
	if err != nil {
		return err
	}
	if err := d.delete(record.TableUserName, d.userHash(u.Name), id); err != nil {
		return err
	}
	if err := d.markSetUp(); err != nil {
		return err
	}
	return d.deleteMembers(record.TableMemberOf, id)
}
