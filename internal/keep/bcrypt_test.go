package keep_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

func from(network string) keep.Caller {
	return keep.Anonymous(keep.Origin{Protocol: keep.InfluxDB, Remote: network, Network: network})
}

func wantCode(t *testing.T, what string, err error, want keep.Code) {
	t.Helper()
	if err == nil || keep.CodeOf(err) != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// TestRightsBeforePasswords checks that the server hashes a password only for callers
// who may set one. While no password can be hashed, a refusal for any other reason
// shows that the server didn't try.
func TestRightsBeforePasswords(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	ann := mustUser(t, k, "ann", "battery staple 1")
	reader := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)}).Value)
	off := k.MustToken(t, keep.NewToken{Permissions: acl.Operator()})
	no := false
	if _, err := k.UpdateToken(ctx, k.Operator(t, keep.InfluxDB), off.ID, keep.TokenUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	op := k.Operator(t, keep.InfluxDB)
	defer k.FillPasswordQueues()()

	for name, c := range map[string]keep.Caller{"a reader": reader, "a token that is switched off": k.MustCaller(t, keep.InfluxDB, off.Value), "nobody": from("192.0.2.9")} {
		wantCode(t, name+" sets a password", k.SetPassword(ctx, c, ann, "battery staple 2"), keep.CodeUnauthorized)
		wantCode(t, name+" changes a password", k.ChangePassword(ctx, c, ann, "battery staple 1", "battery staple 2"), keep.CodeUnauthorized)
	}
	_, err := k.Setup(ctx, from("192.0.2.9"), keep.SetupRequest{User: "eve", Password: "battery staple 3", Org: "o", Bucket: "b"})
	wantCode(t, "a second setup", err, keep.CodeConflict)
	wantCode(t, "a user who does not exist", k.SetPassword(ctx, op, 1, "battery staple 2"), keep.CodeForbidden)
	wantCode(t, "an operator meanwhile", k.SetPassword(ctx, op, ann, "battery staple 2"), keep.CodeTooMany)
}

// TestStrangersLockNobodyOut checks that the right password and the right role are
// accepted, whatever strangers try, from any address.
func TestStrangersLockNobodyOut(t *testing.T) {
	race.SkipSequential(t)
	k := keeptest.New(t, nil)
	ctx := t.Context()
	role := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	signIn := func(network, password string) error {
		_, err := k.SignIn(ctx, from(network), "admin", password)
		return err
	}
	logIn := func(network, secret string) error {
		_, err := k.Login(ctx, from(network), role.ID.String(), secret)
		return err
	}
	for i := range 40 {
		for range 20 {
			_ = signIn(fmt.Sprint("198.51.100.", i), "guess") // refused for one reason or another
			_ = logIn(fmt.Sprint("198.51.100.", i), "guess")
		}
	}
	if err := signIn("192.0.2.1", k.Password); err != nil {
		t.Errorf("the right password from elsewhere: %v", err)
	}
	if err := logIn("192.0.2.1", role.Value); err != nil {
		t.Errorf("the right role from elsewhere: %v", err)
	}
	if err := logIn("198.51.100.1", role.Value); err != nil {
		t.Errorf("the right role from the same address: %v", err)
	}
	wantCode(t, "one more guess", logIn("198.51.100.1", "guess"), keep.CodeTooMany)
}

// TestRightAttemptsAreNotCounted checks that successful attempts have no limit.
func TestRightAttemptsAreNotCounted(t *testing.T) {
	race.SkipSequential(t)
	k := keeptest.New(t, nil)
	role := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	for i := range 200 {
		if _, err := k.SignIn(t.Context(), from("192.0.2.1"), "admin", k.Password); err != nil {
			t.Fatalf("sign-in %d: %v", i, err)
		}
		if _, err := k.Login(t.Context(), from("192.0.2.1"), role.ID.String(), role.Value); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
	}
}

func TestAttemptsPerAddress(t *testing.T) {
	race.SkipSequential(t)
	k := keeptest.New(t, nil)
	tried := 0
	for i := range 200 {
		_, err := k.SignIn(t.Context(), from("192.0.2.1"), fmt.Sprint("user", i), "guess")
		var e *keep.Error
		switch {
		case errors.Is(err, keep.ErrUnauthenticated):
			tried++
		case !errors.As(err, &e) || e.Code != keep.CodeTooMany || e.RetryAfter <= 0 || e.RetryAfter > time.Minute:
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if tried != 50 {
		t.Errorf("%d of 200 guesses for different users were tried, want 50", tried)
	}
}
