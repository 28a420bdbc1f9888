package keep

import (
	"context"
	"strings"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// User is a user who can sign in and own tokens.
type User = directory.User

// UserFilter selects users; zero fields are ignored.
type UserFilter struct {
	ID   ID
	Name string
	Page Page
}

// User returns one user. Needs read on it.
func (k *Keep) User(ctx context.Context, c Caller, id ID) (User, error) {
	var out User
	err := k.readUser(ctx, c, id, func(_ *view, u User) error { out = u; return nil })
	return out, err
}

// UserIn is User with those of its organizations that the caller may read.
func (k *Keep) UserIn(ctx context.Context, c Caller, id ID) (User, []Organization, error) {
	var user User
	var orgs []Organization
	err := k.readUser(ctx, c, id, func(v *view, u User) (err error) {
		user = u
		orgs, err = v.organizations(&c, id)
		return err
	})
	return user, orgs, err
}

// readUser calls fn with one user.
func (k *Keep) readUser(ctx context.Context, c Caller, id ID, fn func(*view, User) error) error {
	rec := c.record("users.read", 0)
	rec.Target = id.String()
	return k.read(ctx, rec, func(v *view) error {
		if err := c.mayUser(acl.Read, id); err != nil {
			return err
		}
		u, err := v.dir.User(id)
		if err != nil {
			return err
		}
		return fn(v, u)
	})
}

// Me returns the caller's own user. Needs read on it, as in InfluxDB.
func (k *Keep) Me(ctx context.Context, c Caller) (User, error) {
	var out User
	err := k.read(ctx, c.record("users.read", 0), func(v *view) error {
		if c.User == 0 {
			return ErrUserNotFound
		}
		if c.inactive {
			return ErrTokenInactive
		}
		if err := c.mayUser(acl.Read, c.User); err != nil {
			return err
		}
		var err error
		out, err = v.dir.User(c.User)
		return err
	})
	return out, err
}

// Users returns the users that match the filter and that the caller may read.
// Without permission to read all, the result for an unreadable name or ID is empty
// whether it exists or not.
func (k *Keep) Users(ctx context.Context, c Caller, f UserFilter) ([]User, error) {
	var out []User
	err := k.read(ctx, c.record("users.list", 0), func(v *view) error {
		out = nil
		id := f.ID
		if id == 0 && f.Name != "" {
			var err error
			if id, err = v.dir.UserNamed(f.Name); err != nil {
				return err
			}
		}
		if f.ID != 0 || f.Name != "" {
			if id == 0 || c.mayUser(acl.Read, id) != nil {
				if id == 0 && c.mayReadAll(acl.Users) {
					return ErrUserNotFound
				}
				return nil
			}
			u, err := v.dir.User(id)
			if err == nil {
				out = append(out, u)
			}
			return err
		}
		err := v.dir.EachUser(func(id ID) error {
			if c.mayUser(acl.Read, id) != nil {
				return nil
			}
			u, err := v.dir.User(id)
			if err == nil {
				if err := v.reserveItem(len(u.Name)); err != nil {
					return err
				}
				out = append(out, u)
			}
			return v.dir.SkipDamaged(err)
		})
		out = cut(f.Page, out, func(u User) ID { return u.ID })
		return err
	})
	return out, err
}

// CreateUser creates a user without a password. Needs write on all users.
func (k *Keep) CreateUser(ctx context.Context, c Caller, name string, active bool) (User, error) {
	var out User
	rec := c.record("users.create", 0)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChange(acl.Resource{Type: acl.Users}); err != nil {
			return err
		}
		id, err := t.dir.NewUserID()
		if err != nil {
			return err
		}
		out = User{ID: id, Name: name, Active: active, Created: t.Now, Updated: t.Now}
		rec.Target = id.String()
		if err := checkNewUserName(name); err != nil {
			return err
		}
		if err := t.k.setCalled(rec, name); err != nil {
			return err
		}
		return t.dir.PutAccount(directory.Account{User: out})
	})
	return out, err
}

func checkUserName(name string) error {
	if name == "" {
		return errorf(CodeEmptyValue, "key required") // InfluxDB's words
	}
	return validName("user name", name)
}

// checkNewUserName also refuses names that HTTP basic authentication can't
// transmit, since the user couldn't sign in.
func checkNewUserName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r == ':' || unicode.IsControl(r) }) {
		return errorf(CodeInvalid, "user name must not have a colon or control characters")
	}
	return checkUserName(name)
}

// UserUpdate changes the fields that aren't nil.
type UserUpdate struct {
	Name   *string
	Active *bool
}

// activation returns the detail of the record of an update that activates or
// deactivates a user or a token.
func activation(active *bool) string {
	switch {
	case active == nil:
		return ""
	case *active:
		return "active"
	}
	return "inactive"
}

func (u *UserUpdate) onlyDeactivates() bool { return u.Active != nil && !*u.Active && u.Name == nil }

// UpdateUser changes a user. Needs write on it. The sessions and tokens of an
// inactive user have no permissions.
func (k *Keep) UpdateUser(ctx context.Context, c Caller, id ID, u UserUpdate) (User, error) {
	var out User
	rec := c.record("users.update", 0)
	rec.Target, rec.Detail = id.String(), activation(u.Active)
	if u.onlyDeactivates() {
		ctx = revoking(ctx, &c)
	}
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChangeUser(id); err != nil {
			return err
		}
		a, err := t.dir.Account(id)
		if err != nil {
			return err
		}
		a.Updated = t.Now
		if u.Name != nil && *u.Name != a.Name { // an imported name may stay
			if err := checkNewUserName(*u.Name); err != nil {
				return err
			}
			a.Name = *u.Name
		}
		if u.Active != nil {
			a.Active = *u.Active
		}
		out = a.User
		return t.dir.PutAccount(a)
	})
	return out, err
}

// DeleteUser removes a user and its memberships. Needs write on the user. The
// user's tokens and sessions are refused like those of an inactive user.
func (k *Keep) DeleteUser(ctx context.Context, c Caller, id ID) error {
	rec := c.record("users.delete", 0)
	rec.Target = id.String()
	return k.update(revoking(ctx, &c), rec, func(t *tx) error {
		if err := c.mayChangeUser(id); err != nil {
			return err
		}
		a, err := t.dir.Account(id)
		if err != nil {
			return err
		}
		if err := t.k.setCalled(rec, a.Name); err != nil {
			return err
		}
		return t.dir.DeleteUser(id)
	})
}
