package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/domain"

	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"
)

// TestGoClient runs InfluxDB's Go client against a new server: setup,
// organizations, users, tokens and secrets.
func TestGoClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := t.Context()
	anonymous := influxdb2.NewClient(s.url, "")
	defer anonymous.Close()

	setup, err := anonymous.Setup(ctx, s.user, s.password, s.org, "default", 0)
	if err != nil {
		t.Fatal(err)
	}
	if setup.User.Name != s.user || setup.Org.Name != s.org {
		t.Errorf("the setup made user %q and organization %q", setup.User.Name, setup.Org.Name)
	}
	s.token, s.orgID = s.confide(*setup.Auth.Token), *setup.Org.Id
	if _, err := influxdb2.NewClient(s.url, "").Setup(ctx, "x", "12345678", "x", "x", 0); err == nil {
		t.Error("a second setup succeeded")
	}
	g := goClient{influxdb2.NewClient(s.url, s.token), s}
	defer g.Close()

	t.Run("health", g.health)
	t.Run("secrets", g.secrets)
	t.Run("organizations", g.organizations)
	t.Run("users", g.users)
	t.Run("tokens", g.tokens)
}

type goClient struct {
	influxdb2.Client
	s *server
}

func (g goClient) health(t *testing.T) {
	if h, err := g.Health(t.Context()); err != nil || h.Status != domain.HealthCheckStatusPass {
		t.Errorf("health: %+v, %v", h, err)
	}
	if r, err := g.Ready(t.Context()); err != nil || *r.Status != domain.ReadyStatusReady {
		t.Errorf("ready: %+v, %v", r, err)
	}
	if ok, err := g.Ping(t.Context()); err != nil || !ok {
		t.Errorf("ping: %v, %v", ok, err)
	}
}

// patchSecrets sets secrets through the client's HTTP service, since its generated
// method always sends an empty object.
func (g goClient) patchSecrets(t *testing.T, orgID string, secrets map[string]string) error {
	t.Helper()
	body, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, g.HTTPService().ServerAPIURL()+"orgs/"+orgID+"/secrets", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.HTTPService().DoHTTPRequest(q, nil, nil); err != nil {
		return err
	}
	return nil
}

func (g goClient) secretNames(t *testing.T, orgID string) []string {
	t.Helper()
	list, err := g.APIClient().GetOrgsIDSecrets(t.Context(), &domain.GetOrgsIDSecretsAllParams{OrgID: orgID})
	if err != nil {
		t.Fatal(err)
	}
	return *list.Secrets
}

func (g goClient) secrets(t *testing.T) {
	ctx, org := t.Context(), g.s.orgID
	want := map[string]string{
		g.s.secretName("db"): g.s.private("pw"), g.s.secretName("smtp"): g.s.private("\"quoted\" \\ text,\nand ü世"), g.s.secretName("empty"): "",
	}
	if err := g.patchSecrets(t, org, want); err != nil {
		t.Fatal(err)
	}
	g.s.wantValues(want)
	if err := g.APIClient().PatchOrgsIDSecrets(ctx, &domain.PatchOrgsIDSecretsAllParams{OrgID: org}); err != nil {
		t.Errorf("an empty change: %v", err)
	}
	if got := g.secretNames(t, org); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the names are %q", got)
	}
	db, smtp := g.s.secretName("db"), g.s.secretName("smtp")
	for range 2 { // deleting a missing secret succeeds
		if err := g.APIClient().DeleteOrgsIDSecretsID(ctx, &domain.DeleteOrgsIDSecretsIDAllParams{OrgID: org, SecretID: db}); err != nil {
			t.Error(err)
		}
	}
	delete(want, db)
	g.s.wantValues(want)
	names := []string{smtp, "never there"}
	if err := g.APIClient().PostOrgsIDSecrets(ctx, &domain.PostOrgsIDSecretsAllParams{
		OrgID: org, Body: domain.PostOrgsIDSecretsJSONRequestBody{Secrets: &names},
	}); err != nil {
		t.Fatal(err)
	}
	delete(want, smtp)
	g.s.wantValues(want)
	wantStatus(t, g.patchSecrets(t, "0000000000000001", want), http.StatusNotFound)
	wantStatus(t, g.patchSecrets(t, "none", want), http.StatusBadRequest)
}

// wantStatus checks the HTTP status with which a request of the client's HTTP
// service was refused.
func wantStatus(t *testing.T, err error, status int) {
	t.Helper()
	// A *Error in an error that is nil would not be nil.
	if e, ok := err.(*influxhttp.Error); !ok || e == nil || e.StatusCode != status {
		t.Errorf("refused with %v, want the status %d", err, status)
	}
}

func (g goClient) organizations(t *testing.T) {
	ctx, orgs := t.Context(), g.OrganizationsAPI()
	second, err := orgs.CreateOrganizationWithName(ctx, g.s.private("second"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orgs.CreateOrganizationWithName(ctx, second.Name); err == nil {
		t.Error("a name was given to two organizations")
	}
	all, err := orgs.GetOrganizations(ctx)
	if err != nil || len(*all) != 2 {
		t.Errorf("organizations: %+v, %v", all, err)
	}
	second.Name = g.s.private("renamed")
	if _, err := orgs.UpdateOrganization(ctx, second); err != nil {
		t.Fatal(err)
	}
	if found, err := orgs.FindOrganizationByName(ctx, g.s.private("renamed")); err != nil || *found.Id != *second.Id {
		t.Errorf("found by name: %+v, %v", found, err)
	}
	if found, err := orgs.FindOrganizationByID(ctx, *second.Id); err != nil || found.Name != g.s.private("renamed") {
		t.Errorf("found by ID: %+v, %v", found, err)
	}
	if err := g.patchSecrets(t, *second.Id, map[string]string{g.s.secretName("db"): g.s.private("of another")}); err != nil {
		t.Fatal(err)
	}
	if err := orgs.DeleteOrganization(ctx, second); err != nil {
		t.Fatal(err)
	}
	if _, err := orgs.FindOrganizationByID(ctx, *second.Id); err == nil {
		t.Error("a deleted organization still exists")
	}
}

func (g goClient) users(t *testing.T) {
	ctx, users, orgs := t.Context(), g.UsersAPI(), g.OrganizationsAPI()
	if me, err := users.Me(ctx); err != nil || me.Name != g.s.user {
		t.Errorf("me: %+v, %v", me, err)
	}
	ann, err := users.CreateUserWithName(ctx, g.s.private("ann"))
	if err != nil {
		t.Fatal(err)
	}
	password := g.s.private("password of ann")
	if err := users.UpdateUserPassword(ctx, ann, password); err != nil {
		t.Fatal(err)
	}
	if all, err := users.GetUsers(ctx); err != nil || len(*all) != 2 {
		t.Errorf("users: %+v, %v", all, err)
	}
	if found, err := users.FindUserByName(ctx, ann.Name); err != nil || *found.Id != *ann.Id {
		t.Errorf("found by name: %+v, %v", found, err)
	}
	if _, err := orgs.AddOwnerWithID(ctx, g.s.orgID, *ann.Id); err != nil {
		t.Fatal(err)
	}
	if owners, err := orgs.GetOwnersWithID(ctx, g.s.orgID); err != nil || len(*owners) != 2 {
		t.Errorf("owners: %+v, %v", owners, err)
	}
	if err := orgs.RemoveOwnerWithID(ctx, g.s.orgID, *ann.Id); err != nil {
		t.Fatal(err)
	}
	if _, err := orgs.AddMemberWithID(ctx, g.s.orgID, *ann.Id); err != nil {
		t.Fatal(err)
	}
	if members, err := orgs.GetMembersWithID(ctx, g.s.orgID); err != nil || len(*members) != 1 {
		t.Errorf("members: %+v, %v", members, err)
	}

	hers := goClient{influxdb2.NewClient(g.s.url, ""), g.s}
	defer hers.Close()
	if err := hers.UsersAPI().SignIn(ctx, ann.Name, g.s.private("wrong")); err == nil {
		t.Error("signed in with a wrong password")
	}
	if err := hers.UsersAPI().SignIn(ctx, ann.Name, password); err != nil {
		t.Fatal(err)
	}
	if got := hers.secretNames(t, g.s.orgID); len(got) != 1 {
		t.Errorf("a member sees %q", got)
	}
	wantStatus(t, hers.patchSecrets(t, g.s.orgID, map[string]string{g.s.secretName("db"): "x"}), http.StatusUnauthorized)
	if err := hers.UsersAPI().MeUpdatePassword(ctx, password, g.s.private("new password of ann")); err != nil {
		t.Error(err)
	}
	if err := hers.UsersAPI().SignOut(ctx); err != nil {
		t.Error(err)
	}
	if _, err := hers.UsersAPI().Me(ctx); err == nil {
		t.Error("a session is valid after signing out")
	}
	if err := hers.UsersAPI().SignIn(ctx, ann.Name, g.s.private("new password of ann")); err != nil {
		t.Error(err)
	}
	if err := users.DeleteUser(ctx, ann); err != nil {
		t.Fatal(err)
	}
	if _, err := hers.UsersAPI().Me(ctx); err == nil {
		t.Error("a deleted user still exists")
	}
}

func (g goClient) tokens(t *testing.T) {
	ctx, tokens := t.Context(), g.AuthorizationsAPI()
	var permissions []domain.Permission
	for _, p := range client.SecretPermissions(g.s.orgID, client.Read) {
		r := domain.Resource{Type: domain.ResourceType(p.Resource.Type)}
		if p.Resource.ID != "" {
			r.Id = &p.Resource.ID
		}
		if p.Resource.OrgID != "" {
			r.OrgID = &p.Resource.OrgID
		}
		permissions = append(permissions, domain.Permission{Action: domain.PermissionAction(p.Action), Resource: r})
	}
	reader, err := tokens.CreateAuthorizationWithOrgID(ctx, g.s.orgID, permissions)
	if err != nil {
		t.Fatal(err)
	}
	its := goClient{influxdb2.NewClient(g.s.url, g.s.confide(*reader.Token)), g.s}
	defer its.Close()
	if got := its.secretNames(t, g.s.orgID); len(got) != 1 {
		t.Errorf("a reader sees %q", got)
	}
	wantStatus(t, its.patchSecrets(t, g.s.orgID, map[string]string{g.s.secretName("db"): "x"}), http.StatusUnauthorized)
	if _, err := tokens.UpdateAuthorizationStatus(ctx, reader, domain.AuthorizationUpdateRequestStatusInactive); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, its.patchSecrets(t, g.s.orgID, nil), http.StatusNotFound) // without permissions, it sees nothing
	if all, err := tokens.FindAuthorizationsByOrgID(ctx, g.s.orgID); err != nil || len(*all) != 2 {
		t.Errorf("tokens: %+v, %v", all, err)
	}
	if all, err := tokens.FindAuthorizationsByUserName(ctx, g.s.user); err != nil || len(*all) != 2 {
		t.Errorf("tokens of the user: %+v, %v", all, err)
	}
	if err := tokens.DeleteAuthorization(ctx, reader); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, its.patchSecrets(t, g.s.orgID, nil), http.StatusUnauthorized)
}
