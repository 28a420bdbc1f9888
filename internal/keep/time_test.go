package keep_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// Expired credentials stay expired when the clock goes back, and those created in a
// wrong future end with it, whether the server is restarted or not.
func TestClockGoesBack(t *testing.T) {
	origin := keep.Origin{Protocol: keep.InfluxDB}
	for name, restart := range map[string]bool{"in one run": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			k := keeptest.New(t, nil)
			set := func(by time.Duration) {
				t.Helper()
				k.Clock.Advance(by)
				if restart {
					k.Reopen(t)
				}
			}
			signIn := func() string {
				t.Helper()
				s, err := k.SignIn(t.Context(), keep.Anonymous(origin), "admin", k.Password)
				if err != nil {
					t.Fatal(err)
				}
				return s.Key
			}
			login := func() string {
				t.Helper()
				op := k.Operator(t, keep.Vault)
				l, err := k.Login(t.Context(), keep.Anonymous(keep.Origin{Protocol: keep.Vault}), op.Token.String(), k.OperatorToken)
				if err != nil {
					t.Fatal(err)
				}
				return l.Value
			}
			valid := func(step string, want bool, token string) {
				t.Helper()
				if _, err := k.Authenticate(t.Context(), origin, token); (err == nil) != want || err != nil && !errors.Is(err, keep.ErrUnauthenticated) {
					t.Errorf("%s: a token is valid: %v, want %v", step, err == nil, want)
				}
			}
			validSession := func(step string, want bool, session string) {
				t.Helper()
				if _, err := k.AuthenticateSession(t.Context(), origin, session); (err == nil) != want || err != nil && !errors.Is(err, keep.ErrUnauthenticated) {
					t.Errorf("%s: a session is valid: %v, want %v", step, err == nil, want)
				}
			}
			token := k.MustToken(t, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org), Expires: k.Clock.Now().Add(30 * time.Minute)}).Value
			session, early := signIn(), login()
			valid("at first", true, token)
			valid("at first", true, early)
			validSession("at first", true, session)

			set(2 * time.Hour)
			valid("after the end", false, token)
			valid("after the end", false, early)
			validSession("after the end", false, session)
			future, late := signIn(), login()
			validSession("in the future", true, future)
			valid("in the future", true, late)

			set(-2 * time.Hour)
			valid("back", false, token)
			valid("back", false, early)
			validSession("back", false, session)
			validSession("made in the future", false, future)
			valid("made in the future", false, late)
			if k.ClockErr() == nil {
				t.Error("the clock reports no problem")
			}
			validSession("made now", true, signIn())
			valid("made now", true, login())
			valid("the operator's", true, k.OperatorToken)

			set(-40 * 365 * 24 * time.Hour) // about 1970
			valid("long ago", false, token)
			validSession("long ago", false, session)
			valid("long ago", true, k.OperatorToken)
		})
	}
}

// A clock that was years ahead for a moment has no lasting effect.
func TestClockOfYearsAhead(t *testing.T) {
	k := keeptest.New(t, nil)
	token := k.MustToken(t, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org), Expires: k.Clock.Now().Add(30 * 24 * time.Hour)}).Value
	for _, by := range []time.Duration{10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		k.Clock.Advance(by)
		k.Reopen(t)
		_, err := k.Authenticate(t.Context(), keep.Origin{Protocol: keep.InfluxDB}, token)
		if expired := by > 0; (err != nil) != expired {
			t.Errorf("after %v: %v", by, err)
		}
	}
}
