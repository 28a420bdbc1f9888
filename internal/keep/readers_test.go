package keep_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// reads returns what a caller learns about readers: "name: reader protocol version",
// with "old" if the reader has an outdated value.
func reads(t *testing.T, k *keep.Keep, c keep.Caller, org keep.ID, names ...string) (list []string) {
	t.Helper()
	all, err := k.Readers(t.Context(), c, org, names)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for i, r := range s.Readers {
			if i > 0 && r.Time.After(s.Readers[i-1].Time) {
				t.Errorf("%s: readers are not in the order of their reads", s.Name)
			}
			who := r.Description
			switch {
			case r.Token == 0 && r.User == 0:
				who = "?"
			case r.Token == 0:
				who = "user " + r.UserName
			}
			line := fmt.Sprintf("%s: %s %s %d", s.Name, who, r.Protocol, r.Version)
			if r.Outdated {
				line += " old"
			}
			list = append(list, line)
		}
	}
	return list
}

func wantReads(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// readerToken makes a token that reads secrets, and returns its caller.
func readerToken(t *testing.T, k *keeptest.Kit, p keep.Protocol, description string, names ...string) keep.Caller {
	t.Helper()
	return k.MustCaller(t, p, k.MustToken(t, keep.NewToken{Description: description, Permissions: keeptest.ReadSecrets(k.Org), Names: names}).Value)
}

func readAll(t *testing.T, k *keep.Keep, c keep.Caller, org keep.ID) string {
	t.Helper()
	d, err := k.Values(t.Context(), c, org, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return d.Tag
}

func readNames(t *testing.T, k *keep.Keep, c keep.Caller, org keep.ID, names ...string) {
	t.Helper()
	if _, err := k.Values(t.Context(), c, org, names, ""); err != nil {
		t.Fatal(err)
	}
}

func session(t *testing.T, k *keeptest.Kit, user, password string) keep.Caller {
	t.Helper()
	s, err := k.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), user, password)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.AuthenticateSession(t.Context(), keeptest.Origin(keep.InfluxDB), s.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReaders(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "1", "c", "1"))
	telegraf, flux := readerToken(t, k, keep.Vault, "telegraf"), readerToken(t, k, keep.InfluxDB, "flux")
	wantReads(t, "before anything is read", reads(t, k.Keep, op, k.Org))

	tag := readAll(t, k.Keep, telegraf, k.Org)
	readNames(t, k.Keep, flux, k.Org, "b", "never")
	wantReads(t, "the last readers", reads(t, k.Keep, op, k.Org), "a: telegraf vault 1", "b: flux influxdb 1", "c: telegraf vault 1")
	wantReads(t, "all readers of two secrets and none", reads(t, k.Keep, op, k.Org, "b", "a", "b", "never"), "a: telegraf vault 1", "b: flux influxdb 1", "b: telegraf vault 1")

	// A reader counts once for each secret, with its last read.
	readNames(t, k.Keep, telegraf, k.Org, "b")
	wantReads(t, "after the other one's read", reads(t, k.Keep, op, k.Org, "b"), "b: telegraf vault 1", "b: flux influxdb 1")

	k.MustChange(t, set("b", "2"))
	wantReads(t, "after a change", reads(t, k.Keep, op, k.Org, "a", "b"), "a: telegraf vault 1", "b: telegraf vault 1 old", "b: flux influxdb 1 old")
	readNames(t, k.Keep, flux, k.Org, "b")
	wantReads(t, "after reading again", reads(t, k.Keep, op, k.Org, "b"), "b: flux influxdb 2", "b: telegraf vault 1 old")

	// A client that asks whether something is new has the current values.
	if d, err := k.Values(t.Context(), telegraf, k.Org, nil, tag); err != nil || len(d.Secrets) != 3 {
		t.Fatal(d, err)
	}
	k.Clock.Advance(time.Hour)
	d, err := k.Values(t.Context(), telegraf, k.Org, nil, readAll(t, k.Keep, telegraf, k.Org))
	if err != nil || len(d.Secrets) != 0 {
		t.Fatal(d, err)
	}
	all, err := k.Readers(t.Context(), op, k.Org, []string{"c"})
	if err != nil || len(all) != 1 || k.Clock.Now().Sub(all[0].Readers[0].Time) > time.Minute {
		t.Errorf("a read that found nothing new: %v, %v", all, err)
	}

	// A session is the user's, a login token its parent's.
	readAll(t, k.Keep, session(t, k, "admin", k.Password), k.Org)
	login, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), op.Token.String(), k.OperatorToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Document(t.Context(), k.MustCaller(t, keep.Vault, login.Value), k.Org, 1); err != nil {
		t.Fatal(err)
	}
	wantReads(t, "a session and a login token", reads(t, k.Keep, op, k.Org, "c"), "c: admin's Token vault 2", "c: user admin influxdb 2", "c: telegraf vault 2")

	if err := k.DeleteToken(t.Context(), op, telegraf.Token); err != nil {
		t.Fatal(err)
	}
	wantReads(t, "after a token is deleted", reads(t, k.Keep, op, k.Org, "c"), "c: admin's Token vault 2", "c: user admin influxdb 2")
}

// Reads don't count for a secret that was deleted and added again, or that was added
// after them.
func TestReadersOfNewSecrets(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "1"))
	c := readerToken(t, k, keep.InfluxDB, "reader")
	readAll(t, k.Keep, c, k.Org)
	readNames(t, k.Keep, c, k.Org, "a")
	k.MustChange(t, keep.Change{Set: map[string]string{"c": "1"}, Remove: []string{"a"}})
	wantReads(t, "a deleted secret", reads(t, k.Keep, op, k.Org, "a"))
	k.MustChange(t, set("a", "2"))
	wantReads(t, "new secrets", reads(t, k.Keep, op, k.Org), "b: reader influxdb 1")

	if err := k.DeleteAll(t.Context(), op, k.Org); err != nil {
		t.Fatal(err)
	}
	k.MustChange(t, set("b", "1"))
	wantReads(t, "after all versions were deleted", reads(t, k.Keep, op, k.Org))
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantReads(t, "after that is saved", reads(t, k.Keep, op, k.Org))
}

// A token that is limited to some names learns only of tokens for these, and not how
// often other secrets change. To see other readers' names and IDs,
// a caller must be allowed to read tokens and users.
// TestReadersOfEarlierVersions checks that whoever reads a current value is a reader,
// through whichever version, and that reading an old value doesn't hide that.
func TestReadersOfEarlierVersions(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "1"))
	k.MustChange(t, keep.Change{Remove: []string{"b"}})
	k.MustChange(t, set("b", "2"))
	hidden, all := readerToken(t, k, keep.Vault, "hidden"), readerToken(t, k, keep.Vault, "all")
	at := func(c keep.Caller, version uint64, names ...string) {
		t.Helper()
		if _, err := k.ValuesAt(t.Context(), c, k.Org, names, version); err != nil {
			t.Fatal(err)
		}
	}
	at(hidden, 1, "b")
	wantReads(t, "after a read of an old value", reads(t, k.Keep, op, k.Org))
	at(hidden, 3, "b")
	at(hidden, 1, "a")
	want := []string{"a: hidden vault 3", "b: hidden vault 3"}
	wantReads(t, "after reads of current values", reads(t, k.Keep, op, k.Org), want...)
	at(hidden, 1, "b")
	at(hidden, 1)
	wantReads(t, "after more reads of old values", reads(t, k.Keep, op, k.Org), want...)

	readAll(t, k.Keep, all, k.Org)
	k.Clock.Advance(time.Minute)
	at(all, 1) // a is still the same
	wantReads(t, "after reading the first version", reads(t, k.Keep, op, k.Org), "a: all vault 3", "b: all vault 3")
}

func TestReadersNeedRights(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "1"))
	k.MustChange(t, set("b", "2"))
	seesTokens := append(keeptest.ReadSecrets(k.Org),
		acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: acl.Authorizations, OrgID: k.Org}},
		acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: acl.Users}})
	for _, n := range []keep.NewToken{
		{Description: "limited", Permissions: seesTokens, Names: []string{"a*"}},
		{Description: "same", Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a"}},
		{Description: "sees tokens", Permissions: seesTokens},
		{Description: "reads", Permissions: keeptest.ReadSecrets(k.Org)},
	} {
		c := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, n).Value)
		readAll(t, k.Keep, c, k.Org)
		var want []string
		switch n.Description {
		case "limited":
			want = []string{"a: limited influxdb 1"}
		case "same":
			want = []string{"a: same influxdb 1"}
		case "sees tokens":
			want = []string{"a: sees tokens influxdb 2", "a: same influxdb 2", "a: limited influxdb 2", "b: sees tokens influxdb 2"}
		case "reads":
			want = []string{"a: reads influxdb 2", "a: ? influxdb 2", "a: ? influxdb 2", "a: ? influxdb 2", "b: reads influxdb 2", "b: ? influxdb 2"}
		}
		wantReads(t, n.Description, reads(t, k.Keep, c, k.Org, "a", "b"), want...)
		if n.Description == "same" {
			limited := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: seesTokens, Names: []string{"a*"}}).Value)
			wantReads(t, "a limited token that sees another one", reads(t, k.Keep, limited, k.Org, "a", "b"), "a: same influxdb 1", "a: limited influxdb 1")
			k.MustChange(t, set("b", "3"))
			readAll(t, k.Keep, c, k.Org)
			wantReads(t, "after changes of other names", reads(t, k.Keep, limited, k.Org, "a"), "a: same influxdb 1", "a: limited influxdb 1")
			if err := k.DeleteAll(t.Context(), op, k.Org); err != nil {
				t.Fatal(err)
			}
			k.MustChange(t, set("a", "1", "b", "1"))
			k.MustChange(t, set("b", "2"))
			for _, token := range []keep.Caller{limited, c} {
				readAll(t, k.Keep, token, k.Org)
			}
			break
		}
	}
	for name, c := range map[string]keep.Caller{
		"a token that only writes": k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: acl.Set{
			{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: k.Org}},
			{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}},
		}}).Value),
		"nobody": keep.Anonymous(keeptest.Origin(keep.InfluxDB)),
	} {
		if all, err := k.Readers(t.Context(), c, k.Org, []string{"a"}); err == nil || all != nil {
			t.Errorf("%s learns %v, %v", name, all, err)
		}
	}
}

// The last reads are stored sealed, survives a restart, and ends with its organization.
func TestReadersAreSaved(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("name-of-a-secret", "1"))
	c := readerToken(t, k, keep.Vault, "reader")
	for range 3 {
		readNames(t, k.Keep, c, k.Org, "name-of-a-secret")
	}
	if n := records(t, k, record.TableActivity); n != 0 {
		t.Errorf("reads wrote %d records at once", n)
	}
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := records(t, k, record.TableActivity); n != 1 {
		t.Errorf("%d records", n)
	}
	k.Reopen(t)
	op := k.Operator(t, keep.InfluxDB)
	wantReads(t, "after a restart", reads(t, k.Keep, op, k.Org), "name-of-a-secret: reader vault 1")
	if err := k.DeleteOrganization(t.Context(), op, k.Org); err != nil {
		t.Fatal(err)
	}
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := records(t, k, record.TableActivity); n != 0 {
		t.Errorf("the organization is deleted, and there are %d records", n)
	}
	k.CheckHidden(t, nil, []string{"name-of-a-secret"})
}

// Servers that share a store add to what others have seen; the later time counts.
func TestReadersOfSeveralServers(t *testing.T) {
	k := keeptest.New(t, nil)
	k.Reopen(t) // leaves no audit records in the store, which another server would take
	log, err := audit.Open(t.TempDir()+"/audit.log", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	second, err := keep.Open(t.Context(), keep.Config{Store: sharedStore{k.Store()}, Keys: k.Keys(), Audit: log, Now: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1"))
	first, both := readerToken(t, k, keep.InfluxDB, "first"), readerToken(t, k, keep.InfluxDB, "both")
	readAll(t, k.Keep, first, k.Org)
	k.MustChange(t, set("a", "2"))
	readAll(t, k.Keep, both, k.Org)
	k.MustChange(t, set("a", "3"))
	k.Clock.Advance(time.Second)
	readAll(t, second, both, k.Org)
	// The server that saves last has seen the earlier read.
	for _, server := range []*keep.Keep{second, k.Keep} {
		if err := server.SaveActivity(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, server := range []*keep.Keep{second, k.Keep} {
		wantReads(t, "two servers", reads(t, server, op, k.Org, "a"), "a: both influxdb 3", "a: first influxdb 1 old")
	}
}

// A time from a clock that was ahead doesn't hide later reads.
func TestReadersAfterWrongClock(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("a", "1"))
	c := readerToken(t, k, keep.InfluxDB, "reader")
	k.Clock.Advance(100 * 24 * time.Hour)
	readAll(t, k.Keep, c, k.Org)
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Clock.Advance(-100 * 24 * time.Hour)
	k.MustChange(t, set("a", "2"))
	readAll(t, k.Keep, c, k.Org)
	op := k.Operator(t, keep.InfluxDB)
	all, err := k.Readers(t.Context(), op, k.Org, []string{"a"})
	if err != nil || len(all) != 1 || all[0].Readers[0].Version != 2 || all[0].Readers[0].Time.After(k.Now()) {
		t.Errorf("readers are %+v, %v", all, err)
	}
}

// What isn't saved because the store fails is saved next time.
func TestReadersAfterFailedSave(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("a", "1", "b", "1"))
	c := readerToken(t, k, keep.InfluxDB, "reader")
	readNames(t, k.Keep, c, k.Org, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.SaveActivity(ctx); err == nil {
		t.Fatal("a save that was canceled succeeded")
	}
	readNames(t, k.Keep, c, k.Org, "b")
	k.Reopen(t)
	wantReads(t, "after a failed save", reads(t, k.Keep, k.Operator(t, keep.InfluxDB), k.Org), "a: reader influxdb 1", "b: reader influxdb 1")
}

// Many readers of many names don't fill the memory, and reads of everything are
// remembered even then.
func TestReadersAreBounded(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("a", "1"))
	c := readerToken(t, k, keep.InfluxDB, "reader")
	names := make([]string, 60_000)
	for i := range names {
		names[i] = fmt.Sprint("name", i)
	}
	k.NoteReads(c, k.Org, 2, names...)
	readAll(t, k.Keep, c, k.Org)
	if n := k.RecentReads(); n != 50_001 {
		t.Errorf("%d reads are in memory", n)
	}
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := k.RecentReads(); n != 0 {
		t.Errorf("%d reads are in memory after a save", n)
	}
	wantReads(t, "among many", reads(t, k.Keep, k.Operator(t, keep.InfluxDB), k.Org), "a: reader influxdb 1")
}

// TestReadersOfUnknownNames asks whether anything has changed, for names that the
// caller doesn't see: they don't take the place of secrets that are read.
func TestReadersOfUnknownNames(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("a", "1", "b", "1"))
	for _, tt := range []struct {
		c    keep.Caller
		want int
	}{
		{readerToken(t, k, keep.Vault, "all"), 2},
		{readerToken(t, k, keep.Vault, "limited", "a"), 1},
	} {
		names := []string{"a", "b", "missing"}
		d, err := k.Values(t.Context(), tt.c, k.Org, []string{}, "")
		if err != nil {
			t.Fatal(err)
		}
		before := k.RecentReads()
		if same, err := k.Values(t.Context(), tt.c, k.Org, names, d.Tag); err != nil || same.Tag != d.Tag {
			t.Fatalf("%+v, %v", same, err)
		}
		if n := k.RecentReads() - before; n != tt.want {
			t.Errorf("%d reads are remembered, want %d", n, tt.want)
		}
	}
}

func TestLastUseOfTokens(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	token := k.MustToken(t, keep.NewToken{Description: "used", Permissions: keeptest.ReadSecrets(k.Org)})
	never := k.MustToken(t, keep.NewToken{Description: "never used", Permissions: keeptest.ReadSecrets(k.Org)})
	used := k.Clock.Now()
	k.MustCaller(t, keep.Vault, token.Value)
	check := func(when string, id keep.ID, at time.Time, p keep.Protocol) {
		t.Helper()
		for _, f := range []keep.TokenFilter{{}, {ID: id}, {Org: k.Org}} {
			all, err := k.TokenUses(t.Context(), op, f)
			if err != nil {
				t.Fatal(err)
			}
			var got keep.TokenUse
			if i := slices.IndexFunc(all, func(u keep.TokenUse) bool { return u.Token == id }); i >= 0 {
				got = all[i]
			}
			if got.Time.Sub(at).Abs() > time.Second || got.Protocol != p {
				t.Errorf("%s: the last use was at %v by %q, want %v by %q", when, got.Time, got.Protocol, at, p)
			}
		}
	}
	check("at once", token.ID, used, keep.Vault)
	check("at once", never.ID, time.Time{}, "")
	// Later uses in the same minute don't count, but those after the next save do.
	k.Clock.Advance(30 * time.Second)
	k.MustCaller(t, keep.InfluxDB, token.Value)
	check("half a minute later", token.ID, used, keep.Vault)
	if err := k.SaveActivity(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("saved", token.ID, used, keep.Vault)
	k.Clock.Advance(time.Hour)
	k.MustCaller(t, keep.InfluxDB, token.Value)
	check("an hour later", token.ID, used.Add(time.Hour+30*time.Second), keep.InfluxDB)
	k.Reopen(t)
	op = k.Operator(t, keep.InfluxDB)
	check("after a restart", token.ID, used.Add(time.Hour+30*time.Second), keep.InfluxDB)
	check("after a restart", never.ID, time.Time{}, "")

	uses, err := k.TokenUses(t.Context(), k.MustCaller(t, keep.InfluxDB, token.Value), keep.TokenFilter{})
	if err != nil || len(uses) != 0 {
		t.Errorf("a token that may not read tokens learns %v, %v", uses, err)
	}
}

// BenchmarkNoteRead compares reading with remembering the reader, in turns.
func BenchmarkNoteRead(b *testing.B) {
	k, op := filled(b, 11)
	const turn = 100
	var reading, noting time.Duration
	for b.Loop() {
		start := time.Now()
		for range turn {
			if _, err := k.Document(b.Context(), op, k.Org, 0); err != nil {
				b.Fatal(err)
			}
		}
		read := time.Now()
		k.NoteReads(op, k.Org, turn)
		reading += read.Sub(start)
		noting += time.Since(read)
	}
	b.ReportMetric(float64(reading.Nanoseconds())/float64(b.N*turn), "ns/read")
	b.ReportMetric(float64(noting.Nanoseconds())/float64(b.N*turn), "ns/note")
}

// Reads, saves and questions at the same time: no read is lost.
func TestReadersWhileSaving(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "1"))
	var callers []keep.Caller
	for i := range 4 {
		callers = append(callers, readerToken(t, k, keep.InfluxDB, fmt.Sprint("reader ", i)))
	}
	done, saved := make(chan struct{}), make(chan error, 1)
	var asking sync.RWMutex // a question may overlap one save, not two, which are 15 seconds apart
	go func() {
		var err error
		for running := true; running && err == nil; {
			asking.Lock() // waits for the questions
			select {
			case <-done:
				running = false
			default:
			}
			asking.Unlock()
			err = k.SaveActivity(context.WithoutCancel(t.Context()))
		}
		saved <- err
	}()
	var wg sync.WaitGroup
	for i, c := range callers {
		wg.Go(func() {
			names := []string{"a", "b"}
			for n := range 20 {
				if _, err := k.Values(t.Context(), c, k.Org, names[:1+(i+n)%2], ""); err != nil {
					t.Error(err)
				}
				asking.RLock()
				all, err := k.Readers(t.Context(), op, k.Org, []string{"a"})
				asking.RUnlock()
				if err != nil || len(all) != 1 || !slices.ContainsFunc(all[0].Readers, func(r keep.SecretReader) bool { return r.Token == c.Token }) {
					t.Errorf("reader %d isn't among %v, %v", i, all, err)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	if got := reads(t, k.Keep, op, k.Org, "b"); len(got) != 4 {
		t.Errorf("the readers of b are %q", got)
	}
}
