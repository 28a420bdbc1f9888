package keep_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// account is a user with a token, a login token derived from it, a session, a
// membership, and an own organization to delete.
type account struct {
	user, token, org, victim keep.ID

	value, login, session string
}

// accountState is the model's state of an account.
type accountState struct {
	token, active bool // the token exists, and is active
	user          bool // is active
	member        bool
	victim        bool
}

// accountOp is a call that concerns an account.
type accountOp struct {
	in   int
	a    *account
	kind accountKind
	on   bool
	op   keep.Caller
}

type accountKind string

const (
	setToken    accountKind = "set token"
	deleteToken accountKind = "delete token"
	setUser     accountKind = "set user"
	setMember   accountKind = "set member"
	deleteOrg   accountKind = "delete organization"
	useToken    accountKind = "use token"
	useLogin    accountKind = "use login token"
	useSession  accountKind = "use session"
	readOrg     accountKind = "read organization"
)

func (op *accountOp) group() int     { return op.in }
func (op *accountOp) String() string { return fmt.Sprintf("%s %t of %d", op.kind, op.on, op.in) }

func accountLaw() law {
	return law{
		start: func() any { return accountState{token: true, active: true, user: true, victim: true} },
		equal: func(a, b any) bool { return a == b },
		step: func(state any, o operation) (any, any) {
			s, op := state.(accountState), o.(*accountOp)
			switch op.kind {
			case setToken:
				if !s.token {
					return s, "gone"
				}
				s.active = op.on
			case deleteToken:
				if !s.token {
					return s, "gone"
				}
				s.token = false
			case setUser:
				s.user = op.on
			case setMember:
				s.member = op.on
			case deleteOrg:
				if !s.victim {
					return s, "gone"
				}
				s.victim = false
			default:
				return s, s.use(op.kind)
			}
			return s, "done"
		},
	}
}

// use presents a credential and returns the answer.
func (s accountState) use(kind accountKind) string {
	switch {
	case kind == readOrg && s.victim:
		return "there"
	case kind == readOrg:
		return "gone"
	case kind != useSession && !s.token, kind == useLogin && !s.active:
		return "unknown"
	case !s.user:
		return "user inactive"
	case kind == useToken && !s.active:
		return "token inactive"
	case kind == useSession && !s.member:
		return "let in, not a member"
	}
	return "let in"
}

func (op *accountOp) run(ctx context.Context, k *keeptest.Kit) (any, error) {
	a := op.a
	var err error
	switch op.kind {
	case setToken:
		_, err = k.UpdateToken(ctx, op.op, a.token, keep.TokenUpdate{Active: &op.on})
	case deleteToken:
		err = k.DeleteToken(ctx, op.op, a.token)
	case setUser:
		_, err = k.UpdateUser(ctx, op.op, a.user, keep.UserUpdate{Active: &op.on})
	case setMember:
		if op.on {
			_, err = k.AddMember(ctx, op.op, a.org, a.user, keep.Member)
			if keep.CodeOf(err) == keep.CodeConflict {
				err = nil // already a member
			}
		} else {
			err = k.RemoveMember(ctx, op.op, a.org, a.user)
		}
	case deleteOrg:
		err = k.DeleteOrganization(ctx, op.op, a.victim)
	case readOrg:
		// Reads secrets, as the protocols do: the organization's existence may be
		// cached.
		if _, err = k.SecretNames(ctx, op.op, a.victim); err == nil {
			return "there", nil
		}
	default:
		return op.use(ctx, k)
	}
	switch {
	case err == nil:
		return "done", nil
	case keep.CodeOf(err) == keep.CodeNotFound:
		return "gone", nil
	}
	return nil, err
}

func (op *accountOp) use(ctx context.Context, k *keeptest.Kit) (any, error) {
	var c keep.Caller
	var err error
	switch op.kind {
	case useToken:
		c, err = k.Authenticate(ctx, keeptest.Origin(keep.InfluxDB), op.a.value)
	case useLogin:
		c, err = k.Authenticate(ctx, keeptest.Origin(keep.Vault), op.a.login)
	default:
		c, err = k.AuthenticateSession(ctx, keeptest.Origin(keep.InfluxDB), op.a.session)
	}
	switch {
	case errors.Is(err, keep.ErrUnauthenticated):
		return "unknown", nil
	case errors.Is(err, keep.ErrUserInactive):
		return "user inactive", nil
	case err != nil:
		return nil, err
	case op.kind == useToken && c.Permissions() == nil:
		return "token inactive", nil
	}
	members := acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: "buckets", OrgID: op.a.org}}
	if op.kind == useSession && !c.Permissions().Allows(members) {
		return "let in, not a member", nil
	}
	return "let in", nil
}

// newAccount creates an account with everything that belongs to it.
func newAccount(t *testing.T, k *keeptest.Kit, op keep.Caller, n int) *account {
	t.Helper()
	name := fmt.Sprint("user", n)
	a := &account{org: k.Org, user: mustUser(t, k, name, "battery staple 1")}
	victim, err := k.CreateOrganization(t.Context(), op, fmt.Sprint("victim", n), "")
	if err != nil {
		t.Fatal(err)
	}
	a.victim = victim.ID
	token := k.MustToken(t, keep.NewToken{User: a.user, Permissions: keeptest.ReadSecrets(k.Org)})
	a.token, a.value = token.ID, token.Value
	l, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value)
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), name, "battery staple 1")
	if err != nil {
		t.Fatal(err)
	}
	a.login, a.session = l.Value, s.Key
	return a
}

// TestAccessIsLinearizable deactivates and activates tokens, users, memberships and
// organizations while they are used. A call that begins after a right has ended is
// refused, even if the store reports late that the change was made.
func TestAccessIsLinearizable(t *testing.T) {
	const workers, accounts, ops = 8, 4, 60
	changes := []accountKind{setToken, setToken, setToken, setUser, setMember, setMember}
	uses := []accountKind{useToken, useToken, useLogin, useSession, readOrg}
	histories(t, func(t *testing.T, rng *rand.Rand, h *history) {
		k := h.kit
		op := k.Operator(t, keep.InfluxDB)
		var all []*account
		for n := range accounts {
			all = append(all, newAccount(t, k, op, n))
		}
		h.together(rng, workers, func(rng *rand.Rand, w int) {
			for range ops {
				in := rng.IntN(accounts)
				o := &accountOp{in: in, a: all[in], on: rng.IntN(2) == 0, op: op}
				switch what := rng.IntN(100); {
				case what < 2:
					o.kind = deleteOrg
				case what < 3:
					o.kind = deleteToken
				case what < 25:
					o.kind = changes[rng.IntN(len(changes))]
				default:
					o.kind = uses[rng.IntN(len(uses))]
				}
				h.do(t, w, o)
			}
		})
		h.check(t, accountLaw())
		k.CheckAudit(t)
	})
}
