package directory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// kit is a directory with an organization, a user who is a member of it, and
// the user's token, login token and session.
type kit struct {
	*recordtest.Kit
	dir *directory.Directory

	org, user    directory.ID
	token, login directory.Token
	session      directory.Hash
}

func newKit(t *testing.T, wrap func(store.Store) store.Store) *kit {
	t.Helper()
	k := &kit{Kit: recordtest.New(t), org: 1, user: 2}
	k.DB = record.New(wrap(k.Store), k.Keys(), func() time.Time { return k.Now })
	k.dir = directory.New(k.DB)
	k.token = directory.Token{
		ID: 3, Org: k.org, User: k.user, Active: true, Value: "token", Expires: k.Now.Add(30 * time.Minute),
		Permissions: acl.Set{{Action: acl.Read, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.org}}},
	}
	k.session = directory.SessionHash(k.DB, "session")
	k.update(t, func(w directory.Writer) error {
		if err := w.AddToken(k.token); err != nil {
			return err
		}
		var err error
		k.login, _, err = w.AddLogin(k.token, directory.NewLogin{ID: 4, Value: "login", Length: directory.LoginLength})
		return errors.Join(err,
			w.PutOrganization(directory.Organization{ID: k.org, Name: "org"}),
			w.PutAccount(directory.Account{User: directory.User{ID: k.user, Name: "user", Active: true}}),
			w.PutMember(k.org, k.user, directory.Member),
			w.AddSession(k.session, directory.Session{User: k.user, Expires: k.Now.Add(time.Hour)}))
	})
	return k
}

func plain(s store.Store) store.Store { return s }

// remote is a store that knows its revision only in a View.
type remote struct{ store.Store }

func (remote) Revision(...byte) uint64 { return 0 }

func (k *kit) update(t *testing.T, fn func(directory.Writer) error) {
	t.Helper()
	if err := k.Update(t.Context(), func(w *record.Writer) error { return fn(k.dir.Write(w)) }); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) view(t *testing.T, fn func(directory.Reader)) {
	t.Helper()
	if err := k.View(t.Context(), func(r *record.Reader) error { fn(k.dir.Read(r)); return nil }); err != nil {
		t.Fatal(err)
	}
}

// answers are the directory's answers about everything in the kit.
type answers struct {
	token, login, session, org string
	member                     bool
}

// ask looks things up, first without a transaction, as Fluxkeep does.
func (k *kit) ask(t *testing.T) (a answers) {
	t.Helper()
	identity := func(d directory.Reader, value string) string {
		if i, ok := k.dir.KnownToken(value); ok {
			return describe(i, nil)
		}
		return describe(d.TokenIdentity(value))
	}
	k.view(t, func(d directory.Reader) {
		a.token, a.login = identity(d, "token"), identity(d, "login")
		_, i, err := d.SessionIdentity(k.session)
		a.session = describe(i, err)
		a.member = err == nil && i.Permissions.Allows(acl.Member(k.org)[0])
		id, known := k.dir.KnownOrganization("org")
		if !known {
			if id, err = d.FindOrganization("org"); err != nil {
				t.Error(err)
			}
		}
		if id != 0 {
			o, err := d.Organization(id)
			if err != nil {
				t.Error(err)
			}
			a.org = o.Name + o.Description
		}
	})
	return a
}

func describe(i *directory.Identity, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case i.Inactive:
		return "inactive"
	}
	return "in"
}

// TestChangesShowAtOnce makes each kind of change after everything that it affects was
// looked up.
func TestChangesShowAtOnce(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { testChangesShowAtOnce(t, plain) })
	t.Run("remote", func(t *testing.T) {
		testChangesShowAtOnce(t, func(s store.Store) store.Store { return remote{s} })
	})
}

func testChangesShowAtOnce(t *testing.T, wrap func(store.Store) store.Store) {
	const unknown, inactive = "unauthorized access", "User is inactive"
	all := answers{"in", "in", "in", "org", true}
	for _, tt := range []struct {
		name   string
		change func(k *kit, w directory.Writer) error
		want   answers
	}{
		{"nothing", func(*kit, directory.Writer) error { return nil }, all},
		{"token off", func(k *kit, w directory.Writer) error {
			off := k.token
			off.Active = false
			return w.UpdateToken(off)
		}, answers{"inactive", unknown, "in", "org", true}},
		{"token deleted", func(k *kit, w directory.Writer) error { return w.DeleteToken(k.token.ID) },
			answers{unknown, unknown, "in", "org", true}},
		{"login token deleted", func(k *kit, w directory.Writer) error { return w.DeleteToken(k.login.ID) },
			answers{"in", unknown, "in", "org", true}},
		{"user off", func(k *kit, w directory.Writer) error {
			a, err := w.Account(k.user)
			a.Active = false
			return errors.Join(err, w.PutAccount(a))
		}, answers{inactive, inactive, inactive, "org", false}},
		{"user deleted", func(k *kit, w directory.Writer) error { return w.DeleteUser(k.user) },
			answers{inactive, inactive, inactive, "org", false}},
		{"no member", func(k *kit, w directory.Writer) error { return w.DeleteMember(k.org, k.user) },
			answers{"in", "in", "in", "org", false}},
		{"signed out", func(k *kit, w directory.Writer) error { return w.EndSession(k.session, k.user) },
			answers{"in", "in", unknown, "org", false}},
		{"signed out everywhere", func(k *kit, w directory.Writer) error { return w.EndSessions(k.user, directory.Hash{}) },
			answers{"in", "in", unknown, "org", false}},
		{"organization changed", func(k *kit, w directory.Writer) error {
			return w.PutOrganization(directory.Organization{ID: k.org, Name: "org", Description: "!"})
		}, answers{"in", "in", "in", "org!", true}},
		{"organization renamed", func(k *kit, w directory.Writer) error {
			return w.PutOrganization(directory.Organization{ID: k.org, Name: "other"})
		}, answers{"in", "in", "in", "", true}},
		{"organization deleted", func(k *kit, w directory.Writer) error { return w.DeleteOrganization(k.org) },
			answers{"in", "in", "in", "", false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, wrap)
			for range 2 {
				if got := k.ask(t); got != all {
					t.Fatalf("before: %+v", got)
				}
			}
			k.dir.ClearCache()
			failed := errors.New("failed")
			err := k.Update(t.Context(), func(w *record.Writer) error {
				d := k.dir.Write(w)
				if err := tt.change(k, d); err != nil {
					return err
				}
				_, _ = d.TokenIdentity("token") // must not be cached
				_, _ = d.FindOrganization("org")
				return failed
			})
			if err != failed {
				t.Fatal(err)
			}
			if got := k.ask(t); got != all {
				t.Errorf("after a change that failed: %+v", got)
			}
			k.view(t, func(old directory.Reader) {
				k.update(t, func(w directory.Writer) error { return tt.change(k, w) })
				for range 2 {
					if got := k.ask(t); got != tt.want {
						t.Errorf("got %+v, want %+v", got, tt.want)
					}
					// Reads of an old transaction must not be cached either.
					if got := describe(old.TokenIdentity("token")); got != "in" {
						t.Errorf("an old transaction: %s", got)
					}
					if id, err := old.FindOrganization("org"); id != k.org || err != nil {
						t.Errorf("an old transaction: %v, %v", id, err)
					}
				}
			})
		})
	}
}

// TestKnown checks what is cached, and for how long.
func TestKnown(t *testing.T) {
	k := newKit(t, plain)
	known := func() bool {
		_, token := k.dir.KnownToken("token")
		_, login := k.dir.KnownToken("login")
		_, org := k.dir.KnownOrganization("org")
		if token != login || token != org {
			t.Errorf("known: token %t, login token %t, organization %t", token, login, org)
		}
		return token
	}
	if known() {
		t.Error("known before it was looked up")
	}
	k.ask(t)
	if !known() {
		t.Fatal("not known after it was looked up")
	}

	other := directory.SessionHash(k.DB, "other")
	k.update(t, func(w directory.Writer) error {
		return w.AddSession(other, directory.Session{User: k.user, Expires: k.Now.Add(time.Hour)})
	})
	if !known() {
		t.Error("not known after a user signed in")
	}

	k.dir.ClearCache()
	if known() {
		t.Error("known after ClearCache")
	}
	k.ask(t)
	k.view(t, func(old directory.Reader) {
		k.update(t, func(w directory.Writer) error { return w.PutMember(k.org, 5, directory.Member) })
		if known() {
			t.Error("known after the directory was changed")
		}
		k.ask(t)
		if _, err := old.TokenIdentity("token"); err != nil {
			t.Error(err)
		}
		if !known() {
			t.Error("not known after an old transaction has looked")
		}
	})

	k.Now = k.token.Expires
	for _, value := range []string{"token", "login"} { // the login token is valid for longer
		if _, ok := k.dir.KnownToken(value); ok {
			t.Errorf("the %s is known after it has ended", value)
		}
	}
}

// TestKnownInView checks that a transaction uses what an earlier one has cached, which
// is all that helps with a store that other processes change, and for how long.
func TestKnownInView(t *testing.T) {
	k := newKit(t, func(s store.Store) store.Store { return remote{s} })
	lookUp := func(value string) (i *directory.Identity, err error) {
		k.view(t, func(d directory.Reader) { i, err = d.TokenIdentity(value) })
		return i, err
	}
	for _, value := range []string{"token", "login"} {
		k.Now = k.token.Expires.Add(-1)
		first, err := lookUp(value)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := lookUp(value); again != first || err != nil {
			t.Errorf("the %s was looked up again: %v", value, err)
		}
		k.Now = k.token.Expires
		if _, err := lookUp(value); !errors.Is(err, directory.ErrUnauthenticated) {
			t.Errorf("the %s after it has ended: %v", value, err)
		}
	}
}

// TestOrphansExpire checks that login tokens that depend on a deleted one are removed
// before they expire, and that the others are counted.
func TestOrphansExpire(t *testing.T) {
	k := newKit(t, plain)
	add := func(parent directory.Token, id directory.ID, value string) (login directory.Token) {
		k.update(t, func(w directory.Writer) (err error) {
			login, _, err = w.AddLogin(parent, directory.NewLogin{ID: id, Value: value, Length: directory.LoginLength})
			return err
		})
		return login
	}
	child := add(k.login, 5, "child")
	grandchild := add(child, 6, "grandchild")
	sweep := func(want int) (expired *directory.Expired) {
		t.Helper()
		k.view(t, func(d directory.Reader) {
			var valid map[directory.ID]int
			var err error
			if expired, valid, err = d.Expired(); err != nil || len(valid) != 1 || valid[k.token.ID] != want {
				t.Errorf("valid login tokens: %v, %v; want %d of %v", valid, err, want, k.token.ID)
			}
		})
		return expired
	}
	if !sweep(3).Empty() {
		t.Error("valid login tokens count as expired")
	}
	k.update(t, func(w directory.Writer) error { return w.DeleteToken(child.ID) })
	expired := sweep(1)
	k.update(t, func(w directory.Writer) error { return w.RemoveExpired(expired) })
	k.view(t, func(d directory.Reader) {
		if _, err := d.Token(grandchild.ID); !errors.Is(err, directory.ErrTokenNotFound) {
			t.Errorf("the token of a deleted one: %v", err)
		}
		if _, err := d.Token(k.login.ID); err != nil {
			t.Errorf("the token of an existing one: %v", err)
		}
	})
}

// TestExpired checks that only expired sessions and login tokens are removed.
func TestExpired(t *testing.T) {
	k := newKit(t, plain)
	left := directory.SessionHash(k.DB, "left")
	k.update(t, func(w directory.Writer) error {
		return w.AddSession(left, directory.Session{User: k.user, Expires: k.Now.Add(2 * time.Hour)})
	})
	k.Now = k.Now.Add(time.Hour)
	var expired *directory.Expired
	k.view(t, func(d directory.Reader) {
		var err error
		if expired, _, err = d.Expired(); err != nil || expired.Empty() {
			t.Fatalf("empty: %t, %v", expired.Empty(), err)
		}
	})
	for steps := 0; !expired.Empty(); steps++ {
		if steps == 2 {
			t.Fatal("there are more than a session and a login token")
		}
		one := expired.Take(1)
		for range 2 { // a second time is no error
			k.update(t, func(w directory.Writer) error { return w.RemoveExpired(one) })
		}
	}
	k.view(t, func(d directory.Reader) {
		if again, _, err := d.Expired(); err != nil || !again.Empty() {
			t.Errorf("expired entries remain: %v", err)
		}
		if _, err := d.Session(left); err != nil {
			t.Errorf("a session that has not expired: %v", err)
		}
		if _, err := d.Token(k.token.ID); err != nil {
			t.Errorf("an ordinary token: %v", err)
		}
		if _, err := d.Token(k.login.ID); !errors.Is(err, directory.ErrTokenNotFound) {
			t.Errorf("the login token: %v", err)
		}
	})
}
