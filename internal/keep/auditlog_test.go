package keep_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// auditActions lists the actions of the records that a query selects, oldest
// first.
func auditActions(t *testing.T, k *keeptest.Kit, c keep.Caller, q keep.AuditQuery) []string {
	t.Helper()
	page, err := k.AuditLog(t.Context(), c, q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range slices.Backward(page.Records) {
		out = append(out, r.Action)
	}
	return out
}

func TestAuditLogNamesObjects(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	ann := mustUser(t, k, "ann", "correct horse 1")
	token := k.MustToken(t, keep.NewToken{Org: k.Org, User: ann, Active: true, Description: "influxd", Permissions: keeptest.WriteSecrets(k.Org)})
	writer := k.MustCaller(t, keep.Influxd, token.Value)
	if _, err := k.Change(t.Context(), writer, k.Org, set("db", "x")); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{false, true} {
		name := "from the directory"
		if gone {
			name = "from the log, once they are deleted"
			if err := k.DeleteToken(t.Context(), op, token.ID); err != nil {
				t.Fatal(err)
			}
			if err := k.DeleteUser(t.Context(), op, ann); err != nil {
				t.Fatal(err)
			}
		}
		page, err := k.AuditLog(t.Context(), op, keep.AuditQuery{Secret: "db", Action: "secrets.*"})
		if err != nil || len(page.Records) != 1 {
			t.Fatalf("%s: %+v, %v", name, page, err)
		}
		if r := page.Records[0]; r.UserName != "ann" || r.TokenName != "influxd" || r.OrganizationName == "" || r.Protocol != "influxd" {
			t.Errorf("%s: %+v", name, r)
		}
		if !gone {
			page, err = k.AuditLog(t.Context(), op, keep.AuditQuery{UserName: "ann", Outcome: "allowed"})
			if err != nil || len(page.Records) != 1 {
				t.Errorf("by the user's name: %+v, %v", page, err)
			}
		}
	}
	if got := auditActions(t, k, op, keep.AuditQuery{Action: "audit.read", Secret: "db"}); len(got) != 2 {
		t.Errorf("reads of the log about the secret: %v", got)
	}
	page, err := k.AuditLog(t.Context(), op, keep.AuditQuery{})
	if err != nil || !slices.ContainsFunc(page.Records, func(r keep.AuditRecord) bool { return r.Action == "users.delete" && r.Called == "ann" }) {
		t.Errorf("the deletion does not name the user: %+v, %v", page, err)
	}
}

// TestAuditLogHashesWhatIsSought finds a secret in a log that has no names.
func TestAuditLogHashesWhatIsSought(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) { c.HashAuditNames = true }})
	op := k.Operator(t, keep.InfluxDB)
	mustUser(t, k, "ann", "correct horse 1")
	k.MustChange(t, set("db", "x", "s3", "y"))
	page, err := k.AuditLog(t.Context(), op, keep.AuditQuery{Secret: "db", Action: "secrets.write"})
	if err != nil || len(page.Records) != 1 || slices.Contains(page.Records[0].Names, "db") {
		t.Errorf("%+v, %v", page, err)
	}
	if got := auditActions(t, k, op, keep.AuditQuery{Secret: "other", Action: "secrets.write"}); len(got) != 0 {
		t.Errorf("about another secret: %v", got)
	}
}

// TestAuditLogOfAnOwner shows an owner the records of one organization, and no
// names of strangers.
func TestAuditLogOfAnOwner(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	other, err := k.CreateOrganization(t.Context(), op, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	ann, eve := mustUser(t, k, "ann", "correct horse 1"), mustUser(t, k, "eve", "correct horse 2")
	if _, err := k.AddMember(t.Context(), op, k.Org, ann, keep.Owner); err != nil {
		t.Fatal(err)
	}
	ofToken := func(user, org keep.ID, permissions acl.Set) keep.Caller {
		token := k.MustToken(t, keep.NewToken{Org: org, User: user, Active: true, Description: "theirs", Permissions: permissions})
		return k.MustCaller(t, keep.InfluxDB, token.Value)
	}
	owner, stranger := ofToken(ann, k.Org, acl.Owner(k.Org)), ofToken(eve, other.ID, acl.Owner(other.ID))
	if _, err := k.SecretNames(t.Context(), stranger, k.Org); err == nil {
		t.Fatal("a stranger reads the secrets")
	}
	if _, err := k.SecretNames(t.Context(), stranger, other.ID); err != nil {
		t.Fatal(err)
	}
	page, err := k.AuditLog(t.Context(), owner, keep.AuditQuery{})
	if err != nil || len(page.Records) == 0 || page.Checkpoint != "" {
		t.Fatalf("%+v, %v", page, err)
	}
	strangers := 0
	for _, r := range page.Records {
		if r.Organization != k.Org.String() {
			t.Errorf("an owner reads %+v", r)
		}
		if r.User == eve.String() {
			strangers++
			if r.UserName != "" || r.TokenName != "" {
				t.Errorf("an owner reads a stranger's name: %+v", r)
			}
		}
		if r.Action == "members.add" && r.Called != "ann" {
			t.Errorf("adding a member: %+v", r)
		}
	}
	if strangers != 1 {
		t.Errorf("a stranger's refusal is there %d times", strangers)
	}
	for name, tt := range map[string]struct {
		c    keep.Caller
		q    keep.AuditQuery
		want error
	}{
		"another organization":       {owner, keep.AuditQuery{Organization: other.ID}, keep.ErrOrganizationNotFound},
		"no organization":            {owner, keep.AuditQuery{Organization: 1}, keep.ErrOrganizationNotFound},
		"a stranger's name":          {owner, keep.AuditQuery{UserName: "eve"}, keep.ErrUserNotFound},
		"nobody's name":              {owner, keep.AuditQuery{UserName: "nobody"}, keep.ErrUserNotFound},
		"a reader":                   {ofToken(ann, k.Org, keeptest.ReadSecrets(k.Org)), keep.AuditQuery{}, keep.ErrNotOperator},
		"a reader, its organization": {ofToken(ann, k.Org, keeptest.ReadSecrets(k.Org)), keep.AuditQuery{Organization: k.Org}, keep.ErrNotOperator},
		"nobody":                     {keep.Anonymous(keeptest.Origin(keep.InfluxDB)), keep.AuditQuery{}, keep.ErrNotOperator},
		"an operator, nobody's name": {op, keep.AuditQuery{UserName: "nobody"}, keep.ErrUserNotFound},
	} {
		_, err := k.AuditLog(t.Context(), tt.c, tt.q)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if werr := k.WaitAudit(t.Context(), tt.c, tt.q); !errors.Is(werr, tt.want) {
			t.Errorf("%s, waiting: %v, want %v", name, werr, tt.want)
		}
	}
	named := func(name string) string {
		_, err := k.AuditLog(t.Context(), owner, keep.AuditQuery{OrganizationName: name})
		return strings.ReplaceAll(err.Error(), name, "")
	}
	if a, b := named("other"), named("absent"); a != b {
		t.Errorf("another organization is %q, a missing one %q", a, b)
	}
	limited := k.MustToken(t, keep.NewToken{Org: k.Org, User: ann, Active: true, Permissions: acl.Owner(k.Org), Names: []string{"db*"}})
	if _, err := k.AuditLog(t.Context(), k.MustCaller(t, keep.InfluxDB, limited.Value), keep.AuditQuery{}); !errors.Is(err, keep.ErrNotOperator) {
		t.Errorf("a token for some names: %v", err)
	}
}

// TestAuditLogOfLoginTokens shows an owner what happens to login tokens of the
// organization.
func TestAuditLogOfLoginTokens(t *testing.T) {
	k := keeptest.New(t, nil)
	owner := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: acl.Owner(k.Org)}).Value)
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	login, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value)
	if err != nil {
		t.Fatal(err)
	}
	c := k.MustCaller(t, keep.Vault, login.Value)
	if _, err := k.RenewLogin(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	child, err := k.CreateChild(t.Context(), c, keep.Child{Description: "one job"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.RevokeSelf(t.Context(), k.MustCaller(t, keep.Vault, child.Value)); err != nil {
		t.Fatal(err)
	}
	page, err := k.AuditLog(t.Context(), owner, keep.AuditQuery{Protocol: string(keep.Vault)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range slices.Backward(page.Records) {
		got = append(got, r.Action+" "+r.Called)
	}
	want := []string{"tokens.login ", "tokens.renew ", "tokens.create one job", "tokens.delete one job"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAuditSearchesAreLimited checks that owners wait while as many of them as may
// search the log do so, and that operators don't.
func TestAuditSearchesAreLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	owner := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: acl.Owner(k.Org)}).Value)
	if _, err := k.AuditLog(t.Context(), owner, keep.AuditQuery{}); err != nil {
		t.Fatal(err)
	}
	if err := k.HoldOwnersAuditSearches(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.AuditLog(t.Context(), op, keep.AuditQuery{}); err != nil {
		t.Errorf("an operator: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := k.AuditLog(ctx, owner, keep.AuditQuery{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an owner: %v", err)
	}
}

// TestWaitAudit waits for what follows a position, and not for the reads of those
// who wait.
func TestWaitAudit(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	page, err := k.AuditLog(t.Context(), op, keep.AuditQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	q := keep.AuditQuery{After: page.Last, Secret: "db"}
	if got := auditActions(t, k, op, q); len(got) != 0 {
		t.Errorf("reading the log follows it: %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := k.WaitAudit(ctx, op, q); err != nil {
		t.Errorf("nothing happens: %v", err)
	}
	k.MustChange(t, set("s3", "x"))
	k.MustChange(t, set("db", "x"))
	if err := k.WaitAudit(t.Context(), op, q); err != nil {
		t.Fatal(err)
	}
	if got := auditActions(t, k, op, q); !slices.Equal(got, []string{"secrets.write"}) {
		t.Errorf("got %v", got)
	}
}
