package keep

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// User is somebody who can sign in and own tokens.
type User struct {
	ID      ID
	Name    string
	Active  bool
	Created time.Time
	Updated time.Time
}

// UserFilter chooses users; what is zero does not choose.
type UserFilter struct {
	ID   ID
	Name string
	Page Page
}

func (r *userRecord) user(id ID) User {
	return User{ID: id, Name: r.Name, Active: !r.Inactive, Created: r.Created, Updated: r.Updated}
}

// user returns the user's record, or ErrUserNotFound.
func (v *view) user(id ID) (*userRecord, error) {
	k := record.Key(record.TableUser, id)
	r, err := record.Load[userRecord](v.Reader, k)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrUserNotFound
	}
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableUserName, v.Hash("user", r.Name)))
	if err != nil {
		return nil, err
	}
	if entry == nil || entry.ID != id {
		return nil, record.Damaged(k, record.ErrNoEntry)
	}
	return r, record.CheckRevisions(k, r.Revision, entry.Revision)
}

// userByName returns the ID behind a name, 0 when nobody has it.
func (v *view) userByName(name string) (ID, error) {
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableUserName, v.Hash("user", name)))
	if err != nil || entry == nil {
		return 0, err
	}
	return entry.ID, nil
}

func (t *tx) putUser(id ID, old, r *userRecord) error {
	t.changeDirectory()
	entry := record.HashKey(record.TableUserName, t.Hash("user", r.Name))
	if old == nil || old.Name != r.Name {
		if e, err := record.Load[entryRecord](t.Reader, entry); err != nil {
			return err
		} else if e != nil {
			return errorf(CodeConflict, "user with name %s already exists", r.Name)
		}
	}
	if old != nil {
		r.Revision = old.Revision + 1
		if old.Name != r.Name {
			if err := t.w.Delete(record.HashKey(record.TableUserName, t.Hash("user", old.Name))); err != nil {
				return err
			}
		}
	}
	if err := t.w.PutJSON(entry, entryRecord{Revision: r.Revision, ID: id}); err != nil {
		return err
	}
	return t.w.PutJSON(record.Key(record.TableUser, id), r)
}

func (t *tx) deleteUser(id ID, r *userRecord) error {
	t.changeDirectory()
	if err := t.w.Delete(record.HashKey(record.TableUserName, t.Hash("user", r.Name))); err != nil {
		return err
	}
	return t.w.Delete(record.Key(record.TableUser, id))
}

// User returns one user. Needs read on it.
func (k *Keep) User(ctx context.Context, c Caller, id ID) (User, error) {
	var out User
	rec := c.record("users.read", 0)
	rec.Target = id.String()
	err := k.read(ctx, rec, func(v *view) error {
		if err := c.mayUser(acl.Read, id); err != nil {
			return err
		}
		r, err := v.user(id)
		if err != nil {
			return err
		}
		out = r.user(id)
		return nil
	})
	return out, err
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
		r, err := v.user(c.User)
		if err != nil {
			return err
		}
		out = r.user(c.User)
		return nil
	})
	return out, err
}

// Users returns the users that the filter chooses and the caller may read. A
// caller who may not read all of them gets an empty list for a name or an ID,
// whether it exists or not.
func (k *Keep) Users(ctx context.Context, c Caller, f UserFilter) ([]User, error) {
	var out []User
	err := k.read(ctx, c.record("users.list", 0), func(v *view) error {
		out = nil
		id := f.ID
		if id == 0 && f.Name != "" {
			var err error
			if id, err = v.userByName(f.Name); err != nil {
				return err
			}
		}
		if f.ID != 0 || f.Name != "" {
			if id == 0 || c.mayUser(acl.Read, id) != nil {
				if id == 0 && c.readsAll(acl.Users) {
					return ErrUserNotFound
				}
				return nil
			}
			r, err := v.user(id)
			if err == nil {
				out = append(out, r.user(id))
			}
			return err
		}
		err := v.ScanIDs(record.TableUser, func(id ID) error {
			if c.mayUser(acl.Read, id) != nil {
				return nil
			}
			r, err := v.user(id)
			if err == nil {
				out = append(out, r.user(id))
			}
			return err
		})
		out = cut(f.Page, out, func(u User) ID { return u.ID })
		return err
	})
	return out, err
}

// CreateUser makes a user without a password. Needs write on all users.
func (k *Keep) CreateUser(ctx context.Context, c Caller, name string, active bool) (User, error) {
	var out User
	rec := c.record("users.create", 0)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChange(acl.Resource{Type: acl.Users}); err != nil {
			return err
		}
		id, err := t.w.NewID(record.TableUser)
		if err != nil {
			return err
		}
		r := &userRecord{Name: name, Inactive: !active, Created: t.Now, Updated: t.Now}
		rec.Target, out = id.String(), r.user(id)
		if err := checkNewUserName(name); err != nil {
			return err
		}
		return t.putUser(id, nil, r)
	})
	return out, err
}

func checkUserName(name string) error {
	if name == "" {
		return errorf(CodeEmptyValue, "key required") // InfluxDB's words
	}
	return validName("user name", name)
}

// checkNewUserName also refuses a name that HTTP's basic authentication can't
// carry, so that the user could not sign in.
func checkNewUserName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r == ':' || unicode.IsControl(r) }) {
		return errorf(CodeInvalid, "user name must not have a colon or control characters")
	}
	return checkUserName(name)
}

// UserUpdate changes what is not nil.
type UserUpdate struct {
	Name   *string
	Active *bool
}

// UpdateUser changes a user. Needs write on it. The sessions and tokens of a
// user who is inactive can do nothing.
func (k *Keep) UpdateUser(ctx context.Context, c Caller, id ID, u UserUpdate) (User, error) {
	var out User
	rec := c.record("users.update", 0)
	rec.Target = id.String()
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChangeUser(id); err != nil {
			return err
		}
		old, err := t.user(id)
		if err != nil {
			return err
		}
		r := *old
		r.Updated = t.Now
		if u.Name != nil && *u.Name != old.Name { // an imported name may stay
			if err := checkNewUserName(*u.Name); err != nil {
				return err
			}
			r.Name = *u.Name
		}
		if u.Active != nil {
			r.Inactive = !*u.Active
		}
		out = r.user(id)
		return t.putUser(id, old, &r)
	})
	return out, err
}

// DeleteUser removes a user and the memberships. Needs write on the user. The
// user's tokens and sessions can do nothing any more, and are told so as those
// of an inactive user are.
func (k *Keep) DeleteUser(ctx context.Context, c Caller, id ID) error {
	rec := c.record("users.delete", 0)
	rec.Target = id.String()
	return k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChangeUser(id); err != nil {
			return err
		}
		r, err := t.user(id)
		if err != nil {
			return err
		}
		if err := t.deleteUser(id, r); err != nil {
			return err
		}
		if err := t.markSetUp(); err != nil {
			return err
		}
		return t.deleteMemberships(id)
	})
}

// SetPassword gives a user a new password and ends the user's sessions. Needs
// write on the user.
func (k *Keep) SetPassword(ctx context.Context, c Caller, id ID, password string) error {
	return k.replacePassword(ctx, c, id, nil, password)
}

// ChangePassword replaces a user's password, if old is right, and ends the
// user's sessions except the caller's. Needs write on the user.
func (k *Keep) ChangePassword(ctx context.Context, c Caller, id ID, old, password string) error {
	return k.replacePassword(ctx, c, id, &old, password)
}

// replacePassword looks at the caller's rights before it spends anything on a
// password, and again when it writes. Attempts are limited as those to sign in
// are.
func (k *Keep) replacePassword(ctx context.Context, c Caller, id ID, old *string, password string) error {
	rec := c.record("users.password", 0)
	rec.Target = id.String()
	refuse := func(err error) error { return k.finish(rec, k.now(), domain(err)) }
	if err := k.peek(ctx, func(v *view) error { return v.mayPassword(&c, id) }); err != nil {
		return refuse(err)
	}
	a := attempt{k.records.Hash("limiter-password", id.String()), c.Origin.network()}
	if _, err := k.attempt(ctx, a, "change the password"); err != nil {
		return refuse(err)
	}
	if old != nil {
		if err := k.checkOldPassword(ctx, id, *old); err != nil {
			return refuse(err)
		}
	}
	hashed, err := k.passwords.hash(ctx, &k.passwords.known, password)
	if err != nil {
		return refuse(err)
	}
	err = k.update(ctx, rec, func(t *tx) error {
		if err := t.mayPassword(&c, id); err != nil {
			return err
		}
		r, err := t.user(id)
		if err != nil {
			return err
		}
		except := record.Hash{}
		if old != nil {
			except = c.session
		}
		return t.changePassword(id, r, hashed, except)
	})
	if err == nil {
		k.limiter.succeeded(k.now(), a)
	}
	return err
}

func (v *view) mayPassword(c *Caller, id ID) error {
	if err := c.mayChangeUser(id); err != nil {
		return err
	}
	_, err := v.user(id)
	if errors.Is(err, ErrUserNotFound) {
		return errorf(CodeForbidden, "your userID is incorrect") // InfluxDB's words
	}
	return err
}

func (k *Keep) checkOldPassword(ctx context.Context, id ID, old string) error {
	hashed, err := k.passwordOf(ctx, id)
	if err != nil {
		return err
	}
	right, err := k.passwords.match(ctx, &k.passwords.known, hashed, old)
	if err == nil && !right {
		err = errorf(CodeForbidden, "your username or password is incorrect")
	}
	return err
}

func (t *tx) changePassword(id ID, old *userRecord, hashed []byte, except record.Hash) error {
	r := *old
	r.Password, r.Updated = hashed, t.Now
	if err := t.endSessions(id, except); err != nil {
		return err
	}
	return t.putUser(id, old, &r)
}
