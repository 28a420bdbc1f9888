package keep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// damageable is a Keep with records in every table, and its answers while nothing is
// damaged.
type damageable struct {
	*keeptest.Kit
	outbox  *still
	session string
	login   string
	second  keep.ID // another organization
	right   map[string]string
}

func newDamageable(t *testing.T) *damageable {
	d := &damageable{outbox: &still{}}
	d.Kit = keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store {
		d.outbox.Store = s
		return d.outbox
	}})
	op := d.Operator(t, keep.InfluxDB)
	o, err := d.CreateOrganization(t.Context(), op, "second", "")
	if err != nil {
		t.Fatal(err)
	}
	d.second = o.ID
	for i := range 3 {
		d.MustChange(t, set("a", fmt.Sprint("value a ", i), "b", "value b"))
	}
	if _, err := d.Change(t.Context(), op, d.second, set("a", "value of the second")); err != nil {
		t.Fatal(err)
	}
	ann := mustUser(t, d.Kit, "ann", "battery staple 1")
	if _, err := d.AddMember(t.Context(), op, d.Org, ann, keep.Member); err != nil {
		t.Fatal(err)
	}
	s, err := d.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "ann", "battery staple 1")
	if err != nil {
		t.Fatal(err)
	}
	d.session = s.Key
	reader := d.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(d.Org)})
	l, err := d.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), reader.ID.String(), reader.Value)
	if err != nil {
		t.Fatal(err)
	}
	d.login = l.Value
	five := 5
	if err := d.UpdateSettings(t.Context(), op, d.Org, keep.SettingsUpdate{MaxVersions: &five}); err != nil {
		t.Fatal(err)
	}
	d.remember(t)
	return d
}

// still is a store whose audit outbox and checkpoint don't change once it is held, and thus
// their sums don't either. Otherwise a background flush can come between a test's copy of
// the records and its restoring them, and the old sums don't fit the new checkpoint.
type still struct {
	store.Store
	mu   sync.RWMutex
	held bool
}

func (s *still) Update(ctx context.Context, fn func(store.Tx) error) error {
	if store.ReserveOf(ctx) == store.LastReserve { // the outbox is emptied with it
		s.mu.RLock()
		defer s.mu.RUnlock()
		if s.held {
			return store.ErrUnavailable
		}
	}
	return s.Store.Update(ctx, fn)
}

func (s *still) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

func (d *damageable) remember(t *testing.T) {
	d.right = d.answers(t)
	for what, answer := range d.right {
		if answer == "" {
			t.Fatalf("%s has no answer", what)
		}
	}
}

// answers returns the answers to all kinds of requests, by request. The answer of a
// failed request is its error's code.
func (d *damageable) answers(t *testing.T) map[string]string {
	d.DropCaches()
	out := map[string]string{}
	say := func(what string, v any, err error) {
		if err != nil {
			out[what] = "error: " + string(keep.CodeOf(err))
			return
		}
		out[what] = fmt.Sprintf("%v", v)
	}
	op, err := d.Authenticate(t.Context(), keeptest.Origin(keep.Vault), d.OperatorToken)
	say("operator", op.User, err)
	if err != nil { // an unknown caller learns nothing
		for question := range d.right {
			out[question] = "error: unknown"
		}
		return out
	}
	for name, org := range map[string]keep.ID{"first": d.Org, "second": d.second} {
		names, err := d.SecretNames(t.Context(), op, org)
		say(name+" names", names, err)
		doc, err := d.Document(t.Context(), op, org, 0)
		say(name+" document", doc.Secrets, err)
		one, err := d.Values(t.Context(), op, org, []string{"a"}, "")
		say(name+" value", one.Secrets, err)
		h, err := d.History(t.Context(), op, org)
		say(name+" history", h, err)
		changes, _, err := d.SecretChanges(t.Context(), op, org, keep.SecretFilter{})
		say(name+" changes", changes, err)
		own, err := d.SecretHistory(t.Context(), op, org, "a")
		say(name+" own history", own, err)
		earlier, err := d.ValuesAt(t.Context(), op, org, []string{"a"}, 1)
		say(name+" earlier value", earlier, err)
		m, err := d.Metadata(t.Context(), op, org)
		say(name+" settings", m.Settings, err)
		o, err := d.Organization(t.Context(), op, org)
		say(name+" organization", o, err)
	}
	orgs, err := d.Organizations(t.Context(), op, keep.OrganizationFilter{Name: "acme"})
	say("by name", orgs, err)
	users, err := d.Users(t.Context(), op, keep.UserFilter{})
	say("users", lines(users), err)
	members, err := d.Members(t.Context(), op, d.Org, keep.Member)
	say("members", lines(members), err)
	tokens, err := d.Tokens(t.Context(), op, keep.TokenFilter{})
	say("tokens", lines(tokens), err)
	c, err := d.AuthenticateSession(t.Context(), keeptest.Origin(keep.InfluxDB), d.session)
	say("session", c.User, err)
	if err == nil {
		names, err := d.SecretNames(t.Context(), c, d.Org)
		say("session names", names, err)
	}
	c, err = d.Authenticate(t.Context(), keeptest.Origin(keep.Vault), d.login)
	say("login", c.User, err)
	return out
}

// lines formats a list, from which damaged objects may be missing.
func lines[T any](list []T) string {
	all := "list\n"
	for _, one := range list {
		all += fmt.Sprintf("%v\n", one)
	}
	return all
}

// isPart reports whether a list contains only lines of the right one.
func isPart(list, right string) bool {
	all := strings.SplitAfter(right, "\n")
	return len(all) > 1 && !slices.ContainsFunc(strings.SplitAfter(list, "\n"), func(line string) bool { return !slices.Contains(all, line) })
}

// check compares answers with the right ones: each must be right, an error, or a part
// of the right list. It returns the number of answers that differ.
func (d *damageable) check(t *testing.T, what string) (errs int) {
	t.Helper()
	for question, answer := range d.answers(t) {
		switch {
		case answer == d.right[question]:
		case len(answer) > 6 && answer[:6] == "error:", isPart(answer, d.right[question]):
			errs++
		default:
			t.Errorf("%s: %s is answered %s, want %s or an error", what, question, answer, d.right[question])
		}
	}
	return errs
}

// TestDamagedRecords flips a byte of each record, truncates it, and replaces it with
// another record's content.
func TestDamagedRecords(t *testing.T) {
	race.SkipSequential(t)
	d := newDamageable(t)
	d.outbox.hold()
	all := raw(t, d.Kit)
	keys := slices.Sorted(maps.Keys(all))
	noticed := map[byte]int{}
	for i, key := range keys {
		good := all[key]
		flipped := bytes.Clone(good)
		flipped[i%len(flipped)] ^= 1 << (i % 8)
		for what, bad := range map[string][]byte{
			"flipped": flipped, "cut": good[:len(good)/2], "empty": {}, "another's": all[keys[(i+1)%len(keys)]],
		} {
			write(t, d.Kit, key, bad)
			errs := d.check(t, fmt.Sprintf("%s record %q", what, key[:1]))
			if errs > 0 {
				noticed[key[0]]++
			}
			if n := len(d.right); errs == n && !bytes.ContainsAny([]byte(key[:1]), "tTuU") {
				t.Errorf("%s record %q: nothing works", what, key[:1])
			}
		}
		write(t, d.Kit, key, good)
	}
	if errs := d.check(t, "all mended"); errs > 0 {
		t.Errorf("%d answers are still wrong", errs)
	}
	for _, key := range keys {
		// Records of the audit outbox are only read at the next start, and sums
		// only by writes and verification.
		if noticed[key[0]] == 0 && !strings.ContainsAny(key[:1], "azdr") {
			t.Errorf("damage in table %q was never noticed", key[:1])
		}
	}
}

// TestRecordsPutBack changes every object, and then restores the old content of each
// rewritten record.
func TestRecordsPutBack(t *testing.T) {
	d := newDamageable(t)
	ctx := t.Context()
	before := raw(t, d.Kit)
	op := d.Operator(t, keep.InfluxDB)
	name, no, seven := "renamed", false, 7
	tokens, err := d.Tokens(ctx, op, keep.TokenFilter{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	for _, token := range tokens {
		if token.Permissions.AllowsAll(keeptest.ReadSecrets(d.Org)) && !token.Permissions.AllowsAll(op.Permissions()) {
			_, err = d.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no})
			must(err)
		}
	}
	_, err = d.UpdateOrganization(ctx, op, d.Org, keep.OrganizationUpdate{Description: &name})
	must(err)
	users, err := d.Users(ctx, op, keep.UserFilter{Name: "ann"})
	must(err)
	must(d.SetPassword(ctx, op, users[0].ID, "battery staple 2")) // also ends the session
	must(d.RemoveMember(ctx, op, d.Org, users[0].ID))
	_, err = d.AddMember(ctx, op, d.Org, users[0].ID, keep.Owner)
	must(err)
	must(d.UpdateSettings(ctx, op, d.Org, keep.SettingsUpdate{MaxVersions: &seven}))
	must(d.DeleteVersions(ctx, op, d.Org))
	_, err = d.Change(ctx, op, d.second, set("a", "newer value"))
	must(err)
	d.remember(t)

	d.outbox.hold()
	after := raw(t, d.Kit)
	tried := map[byte]int{}
	for key, old := range before {
		now := after[key]
		if bytes.Equal(old, now) || key[0] == 'a' || key[0] == 'z' {
			continue
		}
		tried[key[0]]++
		write(t, d.Kit, key, old)
		errs := d.check(t, fmt.Sprintf("record of table %q put back", key[:1]))
		// A record that nothing refers to is never read.
		sums := strings.ContainsAny(key[:1], "dr")
		named := slices.Contains(d.Scrubbed().Damage, keep.DescribeKey(key)) // so lists leave it out
		if now != nil && errs == 0 && !named && !sums {
			t.Errorf("table %q: nobody noticed", key[:1])
		}
		// An object's entry may be named together with the object.
		if _, found := d.examine(t); len(found) == 0 || len(certain(found)) > 2 && !sums {
			t.Errorf("record of table %q put back: Check finds %v, want one damage", key[:1], found)
		}
		write(t, d.Kit, key, now)
	}
	for _, table := range "hmouUtTbBeE" {
		if tried[byte(table)] == 0 && table != 'U' && table != 'O' {
			t.Errorf("no record of table %q was put back", table)
		}
	}
}

// stop ends the Keep's background work, which changes records of the audit outbox, and
// leaves one of them in the store as a crash does.
func (d *damageable) stop(t *testing.T) {
	t.Helper()
	if err := d.Keep.Close(); err != nil {
		t.Fatal(err)
	}
	key := []byte("a" + strings.Repeat("\x01", len(audit.ID{})))
	err := record.New(d.Store(), d.Keys(), time.Now).Update(t.Context(), func(w *record.Writer) error { return w.Put(key, []byte(`{}`)) })
	if err != nil {
		t.Fatal(err)
	}
}

// certain leaves out records that are only suspect: another record with the same place
// in the sums may be the damaged one.
func certain(found []keep.Damage) (out []keep.Damage) {
	for _, d := range found {
		if !errors.Is(d.Err, record.ErrSuspect) {
			out = append(out, d)
		}
	}
	return out
}

// examine returns the damage that Check finds.
func (d *damageable) examine(t *testing.T) (keep.CheckReport, []keep.Damage) {
	t.Helper()
	var found []keep.Damage
	r, err := keep.Check(t.Context(), d.Store(), d.Keys(), nil, func(x keep.Damage) { found = append(found, x) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Damaged != len(found) {
		t.Errorf("%d counted, %d reported", r.Damaged, len(found))
	}
	return r, found
}

// TestCheckFindsDamage damages each record in turn, and expects Check to name only that
// record.
func TestCheckFindsDamage(t *testing.T) {
	race.SkipSequential(t)
	d := newDamageable(t)
	d.stop(t)
	r, found := d.examine(t)
	if len(found) > 0 || r.Organizations != 2 || r.Users != 2 || r.Tokens != 3 || r.Versions != 4 || r.Secrets != 5 {
		t.Fatalf("undamaged: %+v, %v", r, found)
	}
	all := raw(t, d.Kit)
	keys := slices.Sorted(maps.Keys(all))
	tried := 0
	for i, key := range keys {
		good := all[key]
		flipped := bytes.Clone(good)
		flipped[i%len(flipped)] ^= 1
		for what, bad := range map[string][]byte{
			"flipped": flipped, "cut": good[:len(good)/2], "empty": {}, "another's": all[keys[(i+1)%len(keys)]],
		} {
			tried++
			write(t, d.Kit, key, bad)
			_, found := d.examine(t)
			if certain := certain(found); len(certain) != 1 || certain[0].What != keep.DescribeKey(key) {
				t.Errorf("table %q, %s: found %v, want %s alone", key[:1], what, found, keep.DescribeKey(key))
			}
		}
		write(t, d.Kit, key, nil)
		if _, found := d.examine(t); len(found) == 0 || len(certain(found)) > 2 {
			t.Errorf("a missing record of table %q: found %v", key[:1], found)
		}
		write(t, d.Kit, key, good)
	}
	t.Logf("%d damaged records were found", tried)
}

// TestCheckFindsAllDamage checks that damage of one record doesn't hide that of
// another, even with the same description.
func TestCheckFindsAllDamage(t *testing.T) {
	d := newDamageable(t)
	d.stop(t)
	all := raw(t, d.Kit)
	var want []string
	for key, good := range all {
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 4
		write(t, d.Kit, key, bad)
		want = append(want, keep.DescribeKey(key))
	}
	_, found := d.examine(t)
	var got []string
	for _, x := range found {
		got = append(got, x.What)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%q, want\n%q", got, want)
	}
}
