package keep_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"

	"golang.org/x/crypto/bcrypt"
)

const (
	importOrg   = keep.ID(0xa1)
	importOther = keep.ID(0xa2)
	importAnn   = keep.ID(0xb1)
	importBob   = keep.ID(0xb2)
	importPlain = keep.ID(0xc1)
	importShort = keep.ID(0xc2)
	importLong  = keep.ID(0xc3)
	importOff   = keep.ID(0xc4)

	annPassword = "battery staple 1"
)

// influxHash hashes a token as InfluxDB does.
func influxHash(kind, token string) string {
	if kind == "sha512" {
		sum := sha512.Sum512([]byte(token))
		return "$influxdb2-sha512$" + base64.URLEncoding.EncodeToString(sum[:])
	}
	sum := sha256.Sum256([]byte(token))
	return "$influxdb2-sha256$" + base64.URLEncoding.EncodeToString(sum[:])
}

// source returns the content of another server.
func source(tb testing.TB) keep.Import {
	tb.Helper()
	password, err := bcrypt.GenerateFromPassword([]byte(annPassword), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	made := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	token := func(id keep.ID, value, hash string, permissions acl.Set) keep.ImportToken {
		return keep.ImportToken{Hash: hash, Token: keep.Token{
			ID: id, Org: importOrg, User: importAnn, Active: true, Description: "token " + id.String(),
			Permissions: permissions, Created: made, Updated: made, Value: value,
		}}
	}
	off := token(importOff, "canary-token-off", "", keeptest.WriteSecrets(importOrg))
	off.Active = false
	return keep.Import{
		Organizations: []keep.Organization{
			{ID: importOrg, Name: "canary-org", Description: "the first", Created: made, Updated: made},
			{ID: importOther, Name: "canary-other", Created: made, Updated: made},
		},
		Users: []keep.ImportUser{
			{User: keep.User{ID: importAnn, Name: "canary-ann", Active: true}, Owner: true, Password: password},
			{User: keep.User{ID: importBob, Name: "canary-bob"}},
		},
		Members: []keep.ImportMember{
			{Org: importOrg, User: importAnn, Role: keep.Owner},
			{Org: importOther, User: importBob, Role: keep.Member},
		},
		Tokens: []keep.ImportToken{
			token(importPlain, "canary-token-plain", "", acl.Operator()),
			token(importShort, "", influxHash("sha256", "canary-token-256"), keeptest.ReadSecrets(importOrg)),
			token(importLong, "", influxHash("sha512", "canary-token-512"), keeptest.ReadSecrets(importOther)),
			off,
		},
		Secrets: map[keep.ID]map[string]string{
			importOrg:   {"canary-a": "canary-value-1", "canary-b": "", "with/slash": "canary-value-2"},
			importOther: {"canary-a": "canary-value-3"},
		},
	}
}

func mustImport(tb testing.TB, k *keeptest.Kit, in keep.Import) keep.ImportReport {
	tb.Helper()
	r, err := k.Import(tb.Context(), keep.Offline(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func mustPlan(tb testing.TB, k *keeptest.Kit, in keep.Import) keep.ImportReport {
	tb.Helper()
	r, err := keep.PlanImport(tb.Context(), k.Store(), k.Keys(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// left lists the objects that weren't imported or have a remark.
func left(r keep.ImportReport) (out []keep.ImportRemark) {
	for _, m := range r.Remarks {
		if m.Reason != "" {
			out = append(out, m)
		}
	}
	return out
}

// counts formats a report's numbers as one line.
func counts(r keep.ImportReport) string {
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		line := kind
		for _, o := range slices.Sorted(maps.Keys(r.Counts[kind])) {
			line += fmt.Sprintf(" %d %s", r.Counts[kind][o], o)
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

// checkImported checks that everything from the source exists and works.
func checkImported(t *testing.T, k *keeptest.Kit, in keep.Import) {
	t.Helper()
	ctx := t.Context()
	op := k.MustCaller(t, keep.InfluxDB, "canary-token-plain")
	if !op.Operator() || op.User != importAnn || op.Token != importPlain {
		t.Errorf("the operator's token is of %s", op.User)
	}
	for _, want := range in.Organizations {
		if got, err := k.Organization(ctx, op, want.ID); err != nil || got != want {
			t.Errorf("organization %s: %+v, %v", want.ID, got, err)
		}
		d, err := k.Document(ctx, op, want.ID, 0)
		if err != nil || !maps.Equal(keeptest.Map(d.Secrets), in.Secrets[want.ID]) || d.Version.Number != 1 || d.Version.Protocol != "offline" {
			t.Errorf("secrets of %s: version %+v, %v", want.ID, d.Version, err)
		}
	}
	for value, want := range map[string]keep.ImportToken{"canary-token-256": in.Tokens[1], "canary-token-512": in.Tokens[2]} {
		c := k.MustCaller(t, keep.InfluxDB, value)
		if c.Token != want.ID || c.User != want.User || !slices.Equal(c.Permissions(), want.Permissions) {
			t.Errorf("token %s: is %s of %s with %v", want.ID, c.Token, c.User, c.Permissions())
		}
		got, err := k.Token(ctx, op, want.ID)
		if err != nil || !got.Created.Equal(want.Created) || got.Description != want.Description || got.Value != "" {
			t.Errorf("token %s: %+v, %v", want.ID, got, err)
		}
		if _, err := k.Authenticate(ctx, keeptest.Origin(keep.InfluxDB), want.Hash); !errors.Is(err, keep.ErrUnauthenticated) {
			t.Errorf("the hash of token %s is accepted as a token: %v", want.ID, err)
		}
	}
	if c := k.MustCaller(t, keep.InfluxDB, "canary-token-off"); c.Permissions() != nil {
		t.Errorf("an inactive token may do %v", c.Permissions())
	}
	if _, err := k.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "canary-ann", annPassword); err != nil {
		t.Errorf("sign in: %v", err)
	}
	if users, err := k.Members(ctx, op, importOther, keep.Member); err != nil || len(users) != 1 || users[0].ID != importBob || users[0].Active {
		t.Errorf("members: %+v, %v", users, err)
	}
	if same, err := k.CompareSecrets(ctx, keep.Offline(), in); err != nil || same != (keep.ImportComparison{Equal: 4}) {
		t.Errorf("compared: %+v, %v", same, err)
	}
}

func TestImportIntoNew(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	in := source(t)
	const all = "member 2 new, organization 2 new, secret 4 new, token 4 new, user 2 new"

	empty := raw(t, k)
	r := mustPlan(t, k, in)
	if counts(r) != all || len(r.Remarks) != 12 || r.Applied() != 14 {
		t.Errorf("a dry run: %s, remarks %v", counts(r), r.Remarks)
	}
	if !maps.EqualFunc(empty, raw(t, k), bytes.Equal) {
		t.Error("a dry run wrote something")
	}
	if same, err := k.CompareSecrets(t.Context(), keep.Offline(), in); err != nil || same != (keep.ImportComparison{Missing: 4}) {
		t.Errorf("compared: %+v, %v", same, err)
	}
	if did := mustImport(t, k, in); counts(did) != all || !slices.Equal(did.Remarks, r.Remarks) {
		t.Errorf("imported %s, remarks %v", counts(did), did.Remarks)
	}
	var notes []string
	for _, m := range left(r) {
		notes = append(notes, m.Kind+" "+m.ID.String()+" "+string(m.Outcome)+": "+m.Reason)
	}
	if want := []string{
		"user 00000000000000b2 new: is inactive",
		"token 00000000000000c1 new: 36 of its 44 permissions are for what is not kept here: buckets, dashboards, sources and more",
		"token 00000000000000c4 new: is inactive",
	}; !slices.Equal(notes, want) {
		t.Errorf("notes %q", notes)
	}
	checkImported(t, k, in)
	if allowed, err := k.SetupAllowed(t.Context()); allowed || err != nil {
		t.Errorf("it could be set up again: %v", err)
	}

	before := k.Contents(t)
	for what, r := range map[string]keep.ImportReport{"would do": mustPlan(t, k, in), "did": mustImport(t, k, in)} {
		if want := strings.ReplaceAll(all, "new", "unchanged"); counts(r) != want || len(left(r)) != 0 || r.Applied() != 0 {
			t.Errorf("a second time it %s %s, %v", what, counts(r), r.Remarks)
		}
	}
	if !maps.Equal(before, k.Contents(t)) {
		t.Error("a second import wrote something")
	}
	report := k.CheckAudit(t)
	if err := checkImportLines(k.Audit, report.Lines); err != nil {
		t.Error(err)
	}
	k.CheckHidden(t, []string{"canary-value", "canary-token", annPassword, "$influxdb2"}, []string{"canary-a", "canary-org", "canary-ann"})
}

// checkImportLines checks that each object has an audit record.
func checkImportLines(path string, lines uint64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made := 0
	for _, line := range bytes.Split(data, []byte("\n")) {
		if bytes.Contains(line, []byte(`"action":"import"`)) && bytes.Contains(line, []byte(`"protocol":"offline"`)) {
			made++
		}
	}
	// Two organizations, users and memberships, four tokens, two versions of secrets;
	// two imports; two comparisons of two organizations' secrets. A plan leaves no
	// trace.
	if made != 12+2+4 {
		return fmt.Errorf("%d of %d audit records are of imports", made, lines)
	}
	return nil
}

func TestImportNeedsAnOperator(t *testing.T) {
	k := keeptest.New(t, nil)
	reader := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	before := k.Contents(t)
	for _, c := range []keep.Caller{{}, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), k.MustCaller(t, keep.InfluxDB, reader.Value)} {
		if _, err := k.Import(t.Context(), c, source(t)); !errors.Is(err, keep.ErrNotOperator) {
			t.Errorf("import: %v", err)
		}
		if _, err := k.CompareSecrets(t.Context(), c, source(t)); !errors.Is(err, keep.ErrNotOperator) {
			t.Errorf("compare: %v", err)
		}
	}
	if !maps.Equal(before, k.Contents(t)) {
		t.Error("a refused import wrote something")
	}
}

// TestImportIntoUsed imports into a server that already has some of the objects.
func TestImportIntoUsed(t *testing.T) {
	k := keeptest.New(t, nil)
	in := source(t)
	// The first organization and its owner were imported before, and have been renamed
	// since; others have their names now.
	first := keep.Import{Organizations: in.Organizations[:1], Users: in.Users[:1], Tokens: in.Tokens[:2]}
	first.Secrets = map[keep.ID]map[string]string{importOrg: {"canary-a": "changed here", "canary-b": ""}}
	mustImport(t, k, first)
	op := k.Operator(t, keep.InfluxDB)
	name := "renamed"
	if _, err := k.UpdateOrganization(t.Context(), op, importOrg, keep.OrganizationUpdate{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CreateOrganization(t.Context(), op, "canary-other", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CreateUser(t.Context(), op, "canary-bob", true); err != nil {
		t.Fatal(err)
	}
	if _, err := k.AddMember(t.Context(), op, importOrg, importAnn, keep.Member); err != nil {
		t.Fatal(err)
	}
	no := false
	if _, err := k.UpdateToken(t.Context(), op, importShort, keep.TokenUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	// One token exists here under another ID, hashed, and in the source in plain form.
	again := in.Tokens[3]
	again.ID, again.Value, again.Hash = 0xc9, "", influxHash("sha512", in.Tokens[3].Value)
	mustImport(t, k, keep.Import{Tokens: []keep.ImportToken{again}})
	// The source has objects that can't be imported.
	in.Organizations = append(in.Organizations, keep.Organization{ID: 0xa3, Name: " "})
	in.Users = append(in.Users, keep.ImportUser{User: keep.User{ID: 0xb3, Name: "nul\x00"}})
	in.Tokens = append(in.Tokens, keep.ImportToken{Token: keep.Token{ID: 0xc5, Org: importOrg, User: 0xb3, Value: "canary-token-nobody"}},
		keep.ImportToken{Token: keep.Token{ID: 0xc6, Org: 0xa9, User: importAnn, Active: true, Permissions: acl.Operator(), Value: "canary-token-adrift"}})
	in.Secrets[importOrg]["nul\x00"] = "x"
	in.Secrets[0xa9] = map[string]string{"canary-a": "x", "b": "y"}

	before := k.Contents(t)
	dry := mustPlan(t, k, in)
	after := k.Contents(t)
	if !maps.Equal(before, after) {
		t.Error("a dry run wrote something")
	}
	r := mustImport(t, k, in)
	want := "member 1 different 1 refused, organization 1 conflict 1 different 1 refused, " +
		"secret 1 different 1 new 4 refused 1 unchanged, token 1 conflict 1 different 2 new 1 refused 1 unchanged, user 1 conflict 1 refused 1 unchanged"
	if counts(dry) != want || counts(r) != want || !slices.Equal(dry.Remarks, r.Remarks) {
		t.Errorf("would do %s\ndid %s\nwant %s", counts(dry), counts(r), want)
	}
	var told []string
	for _, m := range left(r) {
		told = append(told, fmt.Sprintf("%s %s/%s %q: %s: %s", m.Kind, m.Org, m.ID, m.Name, m.Outcome, m.Reason))
	}
	checkRemarks(t, told, []string{
		`organization 00000000000000a1/00000000000000a1 "canary-org": different: is here with another name`,
		`organization 00000000000000a2/00000000000000a2 "canary-other": conflict: its name is that of organization ID`,
		`organization 00000000000000a3/00000000000000a3 " ": refused: org name is empty`,
		`user 0000000000000000/00000000000000b2 "canary-bob": conflict: its name is that of user ID`,
		`user 0000000000000000/00000000000000b3 "nul\x00": refused: user name has a NUL byte`,
		`member 00000000000000a1/00000000000000b1 "owner": different: is a member here`,
		`member 00000000000000a2/00000000000000b2 "member": refused: organization 00000000000000a2 is not here`,
		`token 00000000000000a1/00000000000000c2 "token 00000000000000c2": different: is here with another status`,
		`token 00000000000000a1/00000000000000c4 "token 00000000000000c4": conflict: it is the same as token ID`,
		`token 00000000000000a1/00000000000000c5 "": refused: user 00000000000000b3 is not here`,
		`token 00000000000000a9/00000000000000c6 "": new: organization 00000000000000a9 is not here, nor was it there: the token works, and no list shows it; 36 of its 44 permissions are for what is not kept here: buckets, dashboards, sources and more`,
		`secret 00000000000000a1/0000000000000000 "canary-a": different: has another value here`,
		`secret 00000000000000a1/0000000000000000 "nul\x00": refused: secret name has a NUL byte`,
		`secret 00000000000000a2/0000000000000000 "": refused: organization 00000000000000a2 is not here`,
		`secret 00000000000000a9/0000000000000000 "": refused: organization 00000000000000a9 is not here`,
	})
	d, err := k.Document(t.Context(), op, importOrg, 0)
	if err != nil || d.Version.Number != 2 ||
		!maps.Equal(keeptest.Map(d.Secrets), map[string]string{"canary-a": "changed here", "canary-b": "", "with/slash": "canary-value-2"}) {
		t.Errorf("secrets are now %v in version %d, %v", keeptest.Map(d.Secrets), d.Version.Number, err)
	}
	if c := k.MustCaller(t, keep.InfluxDB, "canary-token-adrift"); !c.Operator() {
		t.Error("a token without an organization doesn't work")
	}
	if same, err := k.CompareSecrets(t.Context(), keep.Offline(), in); err != nil || same != (keep.ImportComparison{Equal: 2, Different: 1, Missing: 4}) {
		t.Errorf("compared: %+v, %v", same, err)
	}
	if again := mustImport(t, k, in); again.Applied() != 0 {
		t.Errorf("a second time: %s", counts(again))
	}
}

// checkRemarks compares remarks. In want, ID stands for any ID.
func checkRemarks(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if strings.HasSuffix(w, "ID") && len(g) > 16 {
			g = g[:len(g)-16] + "ID"
		}
		if g != w {
			t.Errorf("remark %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

// TestImportKnowsItsTokensAgain imports from a server that has begun to hash its tokens
// since the last import.
func TestImportKnowsItsTokensAgain(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	in := source(t)
	mustImport(t, k, in)
	for _, kind := range []string{"sha256", "sha512"} {
		later := source(t)
		later.Users = in.Users
		for i := range later.Tokens {
			if v := later.Tokens[i].Value; v != "" {
				later.Tokens[i].Value, later.Tokens[i].Hash = "", influxHash(kind, v)
			}
		}
		if r := mustImport(t, k, later); r.Applied() != 0 || len(left(r)) != 0 {
			t.Errorf("%s: %s, %v", kind, counts(r), r.Remarks)
		}
		later.Tokens[0].Hash = influxHash(kind, "another token")
		if r := mustImport(t, k, later); r.Applied() != 0 || len(left(r)) != 1 || left(r)[0].Reason != "is here with another token" {
			t.Errorf("%s, another token: %s, %v", kind, counts(r), r.Remarks)
		}
	}
	checkImported(t, k, in)
}

// TestImportedTokensAreTokens uses a hashed token like any other: to log in, change it
// and delete it.
func TestImportedTokensAreTokens(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	mustImport(t, k, source(t))
	ctx, origin := t.Context(), keeptest.Origin(keep.Vault)
	login, err := k.Login(ctx, keep.Anonymous(origin), importShort.String(), "canary-token-256")
	if err != nil {
		t.Fatal(err)
	}
	if c := k.MustCaller(t, keep.Vault, login.Value); !slices.Equal(c.Permissions(), keeptest.ReadSecrets(importOrg)) {
		t.Errorf("the login token may do %v", c.Permissions())
	}
	op := k.MustCaller(t, keep.InfluxDB, "canary-token-plain")
	no := false
	if _, err := k.UpdateToken(ctx, op, importShort, keep.TokenUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	if c := k.MustCaller(t, keep.InfluxDB, "canary-token-256"); c.Permissions() != nil {
		t.Error("it can't be deactivated")
	}
	if err := k.DeleteToken(ctx, op, importShort); err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"the token": "canary-token-256", "its login token": login.Value} {
		if _, err := k.Authenticate(ctx, origin, token); !errors.Is(err, keep.ErrUnauthenticated) {
			t.Errorf("%s, deleted: %v", what, err)
		}
	}
}

// cutStore fails every Update from the n-th on, either before or after applying it.
type cutStore struct {
	store.Store
	applied bool
	mu      sync.Mutex
	left    int // updates until the first failure; -1: never
}

var errCut = fmt.Errorf("%w: cut", store.ErrUnavailable)

// cut sets the number of updates until the first failure.
func (s *cutStore) cut(left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = left
}

func (s *cutStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 && !s.applied {
		return errCut
	}
	err := s.Store.Update(ctx, fn)
	if s.left == 0 {
		return errCut
	}
	if s.left > 0 && err == nil {
		s.left--
	}
	return err
}

// TestImportCutShort stops an import at each of its transactions, as a crash does:
// either everything was imported or nothing. Then it repeats the import.
func TestImportCutShort(t *testing.T) {
	in := source(t)
	cuts := 0
	for _, applied := range []bool{false, true} {
		for n, done := 0, false; !done; n++ {
			c := &cutStore{left: -1, applied: applied}
			k := keeptest.New(t, &keeptest.Options{Fresh: true, Wrap: func(s store.Store) store.Store { c.Store = s; return c }})
			c.cut(n)
			_, err := k.Import(t.Context(), keep.Offline(), in)
			if done = err == nil; done {
				c.cut(-1)
				break
			}
			cuts++
			if keep.CodeOf(err) != keep.CodeUnavailable {
				t.Fatalf("cut at %d: %v", n, err)
			}
			c.cut(-1)
			k.Reopen(t)
			if all := mustPlan(t, k, in).Applied(); all != 0 && all != 14 || (all == 0) != applied {
				t.Fatalf("cut at %d, applied %v: %d of 14 objects are missing", n, applied, all)
			}
			mustImport(t, k, in)
			checkImported(t, k, in)
			report, err := keep.Check(t.Context(), k.Store(), k.Keys(), nil, func(d keep.Damage) { t.Errorf("cut at %d: %s: %v", n, d.What, d.Err) })
			if err != nil || report.Damaged > 0 || report.Tokens != 4 {
				t.Fatalf("cut at %d: %+v, %v", n, report, err)
			}
			k.CheckAudit(t)
			checkEachOnce(t, k.Audit, in)
		}
	}
	if cuts < 2 {
		t.Errorf("only %d cuts", cuts)
	}
}

// checkEachOnce checks that each created object has exactly one audit record.
func checkEachOnce(t *testing.T, path string, in keep.Import) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for line := range bytes.Lines(data) {
		var r audit.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Action == "import" && r.Outcome == audit.Allowed && (r.Target != "" || r.Detail == keep.ImportSecretKind) {
			made[r.Detail+" "+r.Organization+" "+r.Target]++
		}
	}
	if want := len(in.Organizations) + len(in.Users) + len(in.Members) + len(in.Tokens) + len(in.Secrets); len(made) != want {
		t.Errorf("%d objects have an audit record, want %d: %v", len(made), want, made)
	}
	for what, n := range made {
		if n != 1 {
			t.Errorf("%d audit records of %s", n, what)
		}
	}
}

// TestImportOfMany imports more than one batch.
func TestImportOfMany(t *testing.T) {
	race.SkipSequential(t)
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	in := keep.Import{Secrets: map[keep.ID]map[string]string{}}
	for i := keep.ID(1); i <= 600; i++ {
		in.Organizations = append(in.Organizations, keep.Organization{ID: i, Name: fmt.Sprint("org ", i)})
		in.Users = append(in.Users, keep.ImportUser{User: keep.User{ID: i, Name: fmt.Sprint("user ", i), Active: true}})
		in.Tokens = append(in.Tokens, keep.ImportToken{Token: keep.Token{ID: i, Org: i, User: i, Active: true, Value: fmt.Sprint("token ", i)}})
	}
	in.Secrets[7] = map[string]string{}
	for i := range 5000 {
		in.Secrets[7][fmt.Sprint("name ", i)] = fmt.Sprint("value ", i)
	}
	r := mustImport(t, k, in)
	if want := "organization 600 new, secret 5000 new, token 600 new, user 600 new"; counts(r) != want {
		t.Errorf("did %s, want %s", counts(r), want)
	}
	for _, i := range []keep.ID{1, 256, 257, 600} {
		if c := k.MustCaller(t, keep.InfluxDB, fmt.Sprint("token ", i)); c.User != i {
			t.Errorf("token %d is of user %s", i, c.User)
		}
	}
	if again := mustImport(t, k, in); again.Applied() != 0 || len(left(again)) > 0 {
		t.Errorf("again: %s", counts(again))
	}
}
