package keep_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// tampered is a record that is removed or reverted to an earlier value.
type tampered struct {
	key   string
	value []byte // nil: removed
}

func (x tampered) String() string {
	if x.value == nil {
		return keep.DescribeKey(x.key) + " removed"
	}
	return keep.DescribeKey(x.key) + " put back"
}

// tampering is a stopped Keep with everything that its store ever contained.
type tampering struct {
	*damageable
	saved string // a copy of its folder
	ways  []tampered
	old   []func(t *testing.T) string // credentials that no longer work
}

func newTampering(t *testing.T) *tampering {
	d := &tampering{damageable: newDamageable(t)}
	ctx := t.Context()
	states := []map[string][]byte{raw(t, d.Kit)}
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, raw(t, d.Kit))
	}
	op := d.Operator(t, keep.InfluxDB)
	users, err := d.Users(ctx, op, keep.UserFilter{Name: "ann"})
	done(err)
	ann := users[0].ID
	old := d.session
	d.old = append(d.old, func(t *testing.T) string {
		_, err := d.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "ann", "battery staple 1")
		return ended("ann's old password", err)
	}, func(t *testing.T) string {
		_, err := d.AuthenticateSession(t.Context(), keeptest.Origin(keep.InfluxDB), old)
		return ended("a session that ended", err)
	})
	done(d.SetPassword(ctx, op, ann, "battery staple 2"))
	done(d.RemoveMember(ctx, op, d.Org, ann))
	_, err = d.AddMember(ctx, op, d.Org, ann, keep.Member)
	done(err)
	revoked := d.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(d.Org)})
	done(nil)
	done(d.DeleteToken(ctx, op, revoked.ID))
	disabled := d.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(d.Org)})
	done(nil)
	no := false
	_, err = d.UpdateToken(ctx, op, disabled.ID, keep.TokenUpdate{Active: &no})
	done(err)
	bob := mustUser(t, d.Kit, "bob", "battery staple 3")
	done(nil)
	_, err = d.UpdateUser(ctx, op, bob, keep.UserUpdate{Active: &no})
	done(err)
	gone, err := d.CreateOrganization(ctx, op, "gone", "")
	done(err)
	_, err = d.Change(ctx, op, gone.ID, set("a", "gone"))
	done(err)
	done(d.DeleteOrganization(ctx, op, gone.ID))
	for i := range 3 {
		d.MustChange(t, set("a", fmt.Sprint("newer value ", i)))
		done(nil)
	}
	done(d.DestroyVersions(ctx, op, d.Org, 2))
	four := 4
	done(d.UpdateSettings(ctx, op, d.Org, keep.SettingsUpdate{MaxVersions: &four}))
	s, err := d.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "ann", "battery staple 2")
	done(err)
	d.session = s.Key
	d.old = append(d.old, func(t *testing.T) string {
		_, err := d.Authenticate(t.Context(), keeptest.Origin(keep.InfluxDB), revoked.Value)
		return ended("a deleted token", err)
	}, func(t *testing.T) string {
		c, err := d.Authenticate(t.Context(), keeptest.Origin(keep.InfluxDB), disabled.Value)
		if err == nil {
			_, err = d.SecretNames(t.Context(), c, d.Org)
		}
		return ended("a token that was switched off", err)
	}, func(t *testing.T) string {
		_, err := d.Organization(t.Context(), d.Operator(t, keep.InfluxDB), gone.ID)
		return ended("a deleted organization", err)
	})
	d.remember(t)
	d.Close(t)
	d.Tamper()
	d.saved = filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(d.saved, os.DirFS(d.Dir)); err != nil {
		t.Fatal(err)
	}
	now := d.stored(t, nil)
	live := map[string]bool{} // the existing maps
	for key := range now {
		if key[0] == byte(record.TableVersion) {
			live[key[1:9]] = true
		}
		if key[0] != byte(record.TableRoot) { // see TestMissingSums
			d.ways = append(d.ways, tampered{key, nil})
		}
	}
	seen := map[string]bool{}
	for _, s := range states {
		for key, value := range s {
			if strings.Contains("svc", key[:1]) && !live[key[1:9]] {
				continue // of a deleted map, to whose records nothing refers
			}
			if id := key + string(value); !bytes.Equal(now[key], value) && !seen[id] {
				seen[id] = true
				d.ways = append(d.ways, tampered{key, value})
			}
		}
	}
	slices.SortFunc(d.ways, func(a, b tampered) int { return strings.Compare(a.key+string(a.value), b.key+string(b.value)) })
	return d
}

// ended returns a problem if a credential works that must not.
func ended(what string, err error) string {
	if err == nil {
		return what + " works again"
	}
	return ""
}

// stored changes the stopped Keep's store, and returns its records.
func (d *tampering) stored(t *testing.T, ways []tampered) map[string][]byte {
	t.Helper()
	s, err := pebblestore.Open(filepath.Join(d.Dir, "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	err = s.Update(t.Context(), func(w store.Tx) error {
		for _, x := range ways {
			var err error
			if x.value == nil {
				err = w.Delete([]byte(x.key))
			} else {
				err = w.Set([]byte(x.key), x.value)
			}
			if err != nil {
				return err
			}
		}
		return w.Scan(nil, nil, func(key, value []byte) (bool, error) {
			all[string(key)] = bytes.Clone(value)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// reset restores the folder.
func (d *tampering) reset(t *testing.T) {
	t.Helper()
	d.Close(t)
	if err := os.RemoveAll(d.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(d.Dir, os.DirFS(d.saved)); err != nil {
		t.Fatal(err)
	}
}

// try tampers, starts the Keep, and compares its answers.
func (d *tampering) try(t *testing.T, ways ...tampered) {
	t.Helper()
	d.reset(t)
	d.stored(t, ways)
	d.Reopen(t)
	for d.Scrubbed().Passed.IsZero() {
		time.Sleep(time.Millisecond) // a start waits for most of it
	}
	what := fmt.Sprint(ways)
	if len(d.Scrubbed().Damage) == 0 {
		t.Errorf("%s: nobody noticed", what)
	}
	errs := d.check(t, what)
	if _, err := d.Authenticate(t.Context(), keeptest.Origin(keep.Vault), d.OperatorToken); err != nil {
		return // it doesn't start
	}
	for _, works := range d.old {
		if problem := works(t); problem != "" {
			t.Errorf("%s: %s", what, problem)
		}
	}
	// One damaged object leaves the others alone, except for those that share its place in a
	// grid of sums. Which ones do is chance, because IDs are random.
	if len(ways) == 1 && errs > len(d.right)/2 && !d.othersSuspect(t, ways[0].key) {
		t.Errorf("%s: %d of %d questions have no answer", what, errs, len(d.right))
	}
}

// othersSuspect reports whether the sums put records under suspicion besides that at key.
func (d *tampering) othersSuspect(t *testing.T, key string) bool {
	_, found := d.examine(t)
	return slices.ContainsFunc(found, func(x keep.Damage) bool {
		return errors.Is(x.Err, record.ErrSuspect) && x.What != keep.DescribeKey(key)
	})
}

// TestTampering removes and reverts each record of a store, and pairs of them, while the
// server is stopped. No old value is ever returned as current, and each case is noticed.
func TestTampering(t *testing.T) {
	race.SkipSequential(t)
	d := newTampering(t)
	t.Logf("%d cases, %d of them removals", len(d.ways), len(slices.Collect(maps.Keys(d.stored(t, nil)))))
	random := rand.New(rand.NewPCG(1, 2))
	pairs, single := 200, 1
	if testing.Short() {
		pairs, single = 10, 20
	}
	for i, x := range d.ways {
		if i%single == 0 {
			d.try(t, x)
		}
	}
	for range pairs {
		a, b := d.ways[random.IntN(len(d.ways))], d.ways[random.IntN(len(d.ways))]
		if a.key != b.key {
			d.try(t, a, b)
		}
	}
	// An object and its entry, which both carry the old revision.
	for i, a := range d.ways {
		if i%single != 0 {
			continue
		}
		for _, b := range d.ways[i+1:] {
			if a.value != nil && b.value != nil && strings.EqualFold(a.key[:1], b.key[:1]) && a.key[0] != b.key[0] && random.IntN(8) == 0 {
				d.try(t, a, b)
			}
		}
	}
	d.reset(t)
	d.Reopen(t)
	if errs := d.check(t, "nothing"); errs > 0 || len(d.Scrubbed().Damage) > 0 {
		t.Errorf("untouched: %d wrong answers, damage %q", errs, d.Scrubbed().Damage)
	}
}

// TestMissingSums checks that a store without its sums isn't taken for a new one.
func TestMissingSums(t *testing.T) {
	race.SkipSequential(t)
	d := newTampering(t)
	open := func() error {
		s, err := pebblestore.Open(filepath.Join(d.Dir, "store"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		log, err := audit.Open(d.Audit, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		k, err := keep.Open(t.Context(), keep.Config{Store: s, Keys: d.Keys(), Audit: log})
		if err != nil {
			return err
		}
		for k.Scrubbed().Passed.IsZero() {
			time.Sleep(time.Millisecond)
		}
		var found error
		for _, what := range k.Scrubbed().Damage {
			found = &record.DamageError{What: what, Err: errors.New("found")}
		}
		return errors.Join(found, k.Close())
	}
	for _, tables := range []string{"r", "rd", "rdh", "rdhuUoOtTbBeEi"} {
		d.reset(t)
		var removed []tampered
		for key := range d.stored(t, nil) {
			if strings.Contains(tables, key[:1]) {
				removed = append(removed, tampered{key, nil})
			}
		}
		d.stored(t, removed)
		if err := open(); !errors.As(err, new(*record.DamageError)) {
			t.Errorf("without tables %q: %v", tables, err)
		}
	}
	// All users are removed, but the sums remain.
	d.reset(t)
	var removed []tampered
	for key := range d.stored(t, nil) {
		if strings.Contains("uUoOtTbBeEi", key[:1]) {
			removed = append(removed, tampered{key, nil})
		}
	}
	d.stored(t, removed)
	d.Reopen(t)
	q := keep.SetupRequest{User: "mallory", Password: "battery staple 9", Org: "mine", Bucket: "b"}
	if _, err := d.Setup(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), q); err == nil {
		t.Error("the server was set up again")
	}
}

// TestDamagedObjectsAreLeftOut checks that one damaged object hides no others.
func TestDamagedObjectsAreLeftOut(t *testing.T) {
	d := newDamageable(t)
	reader := d.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(d.Org)})
	bob := mustUser(t, d.Kit, "bob", "battery staple 3")
	d.remember(t)
	for _, x := range []struct {
		key   []byte
		wrong int // answers about the object
	}{
		{record.Key(record.TableToken, reader.ID), 1},
		{record.Key(record.TableUser, bob), 1},
		{record.Key(record.TableOrg, d.second), 9},
	} {
		key := x.key
		good := raw(t, d.Kit)[string(key)]
		bad := bytes.Clone(good)
		bad[len(bad)-1] ^= 1
		write(t, d.Kit, string(key), bad)
		what := keep.DescribeKey(string(key))
		if errs := d.check(t, what); errs != x.wrong {
			t.Errorf("%s: %d answers are wrong, want %d", what, errs, x.wrong)
		}
		op := d.Operator(t, keep.InfluxDB)
		if _, err := d.Organizations(t.Context(), op, keep.OrganizationFilter{}); err != nil {
			t.Errorf("%s: list of organizations: %v", what, err)
		}
		if !slices.Contains(d.Scrubbed().Damage, what) {
			t.Errorf("%s is not named, but %q", what, d.Scrubbed().Damage)
		}
		write(t, d.Kit, string(key), good)
	}
}
