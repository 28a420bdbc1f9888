package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

const token = "s3cr3t-t0ken=="

func newClient(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return newClientFor(t, srv.URL)
}

func newClientFor(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func str(s string) *string { return &s }

// TestRequests checks what each call sends, and how it reads the answer.
func TestRequests(t *testing.T) {
	when := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	inactive := client.Inactive
	for _, c := range []struct {
		name    string
		call    func(context.Context, *client.Client) (any, error)
		want    string // method, target and body
		status  int
		answer  string
		returns any
	}{
		{
			"setup allowed",
			func(ctx context.Context, c *client.Client) (any, error) { return c.SetupAllowed(ctx) },
			"GET /api/v2/setup", 200, `{"allowed":true}`, true,
		}, {
			"setup",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.Setup(ctx, client.SetupRequest{Username: "admin", Password: "pw", Org: "acme", Bucket: "b"})
			},
			`POST /api/v2/setup {"username":"admin","password":"pw","org":"acme","bucket":"b"}`,
			201, `{"user":{"id":"1","name":"admin"},"org":{"id":"2","name":"acme"},"auth":{"id":"3","token":"T"}}`,
			client.SetupResult{User: client.User{ID: "1", Name: "admin"}, Org: client.Organization{ID: "2", Name: "acme"}, Auth: client.Token{ID: "3", Token: "T"}},
		}, {
			"me",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Me(ctx) },
			"GET /api/v2/me", 200, `{"id":"1","name":"admin","status":"active"}`, client.User{ID: "1", Name: "admin", Status: client.Active},
		}, {
			"self",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Self(ctx) },
			"GET /api/v2/fluxkeep/self", 200,
			`{"userID":"1","tokenID":"3","operator":false,"permissions":[{"action":"read","resource":{"type":"secrets","orgID":"2"}}],"names":["db_*"],"expiresAt":"2026-03-01T09:30:00Z"}`,
			client.Self{
				UserID: "1", TokenID: "3", Names: []string{"db_*"}, ExpiresAt: when,
				Permissions: []client.Permission{{Action: client.Read, Resource: client.Resource{Type: "secrets", OrgID: "2"}}},
			},
		}, {
			"revoke self",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.RevokeSelf(ctx) },
			"DELETE /api/v2/fluxkeep/self", 204, "", nil,
		}, {
			"health of a server that can't work",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Health(ctx) },
			"GET /health", 503, `{"name":"fluxkeep","status":"fail","message":"full","version":"1"}`,
			client.Health{Name: "fluxkeep", Status: "fail", Message: "full", Version: "1"},
		}, {
			"organization by name",
			func(ctx context.Context, c *client.Client) (any, error) { return c.OrganizationByName(ctx, "a&b c") },
			"GET /api/v2/orgs?org=a%26b+c", 200, `{"orgs":[{"id":"2","name":"a&b c"}]}`, client.Organization{ID: "2", Name: "a&b c"},
		}, {
			"organizations",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Organizations(ctx) },
			"GET /api/v2/orgs?limit=100&offset=0", 200, `{"orgs":[{"id":"2","name":"acme","createdAt":"2026-03-01T09:30:00Z"}]}`,
			[]client.Organization{{ID: "2", Name: "acme", CreatedAt: when}},
		}, {
			"create organization",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.CreateOrganization(ctx, "second", "the <second>")
			},
			`POST /api/v2/orgs {"name":"second","description":"the <second>"}`, 201, `{"id":"4","name":"second"}`, client.Organization{ID: "4", Name: "second"},
		}, {
			"update organization",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.UpdateOrganization(ctx, "4", client.OrganizationUpdate{Description: str("")})
			},
			`PATCH /api/v2/orgs/4 {"description":""}`, 200, `{"id":"4","name":"second"}`, client.Organization{ID: "4", Name: "second"},
		}, {
			"delete organization",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteOrganization(ctx, "4") },
			"DELETE /api/v2/orgs/4", 204, "", nil,
		}, {
			"add owner",
			func(ctx context.Context, c *client.Client) (any, error) {
				return nil, c.AddMember(ctx, "4", "5", client.RoleOwner)
			},
			`POST /api/v2/orgs/4/owners {"id":"5"}`, 201, `{}`, nil,
		}, {
			"remove member",
			func(ctx context.Context, c *client.Client) (any, error) {
				return nil, c.RemoveMember(ctx, "4", "5", client.RoleMember)
			},
			"DELETE /api/v2/orgs/4/members/5", 204, "", nil,
		}, {
			"create user",
			func(ctx context.Context, c *client.Client) (any, error) { return c.CreateUser(ctx, "ann") },
			`POST /api/v2/users {"name":"ann"}`, 201, `{"id":"5","name":"ann","status":"active"}`, client.User{ID: "5", Name: "ann", Status: client.Active},
		}, {
			"deactivate a user",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.UpdateUser(ctx, "5", client.UserUpdate{Status: &inactive})
			},
			`PATCH /api/v2/users/5 {"status":"inactive"}`, 200, `{"id":"5","status":"inactive"}`, client.User{ID: "5", Status: client.Inactive},
		}, {
			"set password",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.SetPassword(ctx, "5", "pw") },
			`POST /api/v2/users/5/password {"password":"pw"}`, 204, "", nil,
		}, {
			"tokens",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.Tokens(ctx, client.TokenFilter{OrgID: "2"})
			},
			"GET /api/v2/authorizations?orgID=2", 200, `{"authorizations":[{"id":"6","names":["db_*"],"expiresAt":"2026-03-01T09:30:00Z"}]}`,
			[]client.Token{{ID: "6", Names: []string{"db_*"}, ExpiresAt: when}},
		}, {
			"create token",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.CreateToken(ctx, client.NewToken{OrgID: "2", Permissions: client.SecretPermissions("2", client.Read), ExpiresAt: when, Names: []string{"db_*"}})
			},
			`POST /api/v2/authorizations {"orgID":"2","permissions":[{"action":"read","resource":{"type":"orgs","id":"2"}},{"action":"read","resource":{"type":"secrets","orgID":"2"}}],"expiresAt":"2026-03-01T09:30:00Z","names":["db_*"]}`,
			201, `{"id":"6","token":"T"}`, client.Token{ID: "6", Token: "T"},
		}, {
			"deactivate token",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.UpdateToken(ctx, "6", client.TokenUpdate{Status: &inactive})
			},
			`PATCH /api/v2/authorizations/6 {"status":"inactive"}`, 200, `{"id":"6","status":"inactive"}`, client.Token{ID: "6", Status: client.Inactive},
		}, {
			"resource types",
			func(ctx context.Context, c *client.Client) (any, error) { return c.ResourceTypes(ctx) },
			"GET /api/v2/resources", 200, `["orgs","secrets"]`, []string{"orgs", "secrets"},
		}, {
			"names of secrets",
			func(ctx context.Context, c *client.Client) (any, error) { return c.SecretNames(ctx, "2") },
			"GET /api/v2/orgs/2/secrets", 200, `{"secrets":["a","b"]}`, []string{"a", "b"},
		}, {
			"set secrets",
			func(ctx context.Context, c *client.Client) (any, error) {
				return nil, c.SetSecrets(ctx, "2", map[string]string{"a": "1", "b": ""})
			},
			`PATCH /api/v2/orgs/2/secrets {"a":"1","b":""}`, 204, "", nil,
		}, {
			"delete a secret with a slash and a percent sign",
			func(ctx context.Context, c *client.Client) (any, error) {
				return nil, c.DeleteSecret(ctx, "2", "a/b%2F")
			},
			"DELETE /api/v2/orgs/2/secrets/a%2Fb%252F", 204, "", nil,
		}, {
			"delete a secret named with dots",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteSecret(ctx, "2", "..") },
			`POST /api/v2/orgs/2/secrets/delete {"secrets":[".."]}`, 204, "", nil,
		}, {
			"delete no secrets",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteSecrets(ctx, "2") },
			`POST /api/v2/orgs/2/secrets/delete {"secrets":[]}`, 204, "", nil,
		}, {
			"history",
			func(ctx context.Context, c *client.Client) (any, error) { return c.History(ctx, "2") },
			"GET /api/v2/orgs/2/secrets/history", 200, `{"versions":[{"version":7,"added":["a"],"count":3,"pinned":true,"rolledBackTo":5,"deletedAt":"2026-03-01T09:30:00Z"}]}`,
			[]client.Version{{Number: 7, Added: []string{"a"}, Count: 3, Pinned: true, RolledBackTo: 5, DeletedAt: when}},
		}, {
			"readers",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Readers(ctx, "2", "a", "b c") },
			"GET /api/v2/orgs/2/secrets/readers?name=a&name=b+c", 200, `{"secrets":[{"name":"a","readers":[{"tokenID":"3","readAt":"2026-03-01T09:30:00Z","protocol":"vault","version":7,"outdated":true}]}]}`,
			[]client.SecretReaders{{Name: "a", Readers: []client.SecretReader{{TokenID: "3", ReadAt: when, Protocol: "vault", Version: 7, Outdated: true}}}},
		}, {
			"uses of tokens",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.TokenUses(ctx, client.TokenFilter{OrgID: "2"})
			},
			"GET /api/v2/authorizations/uses?orgID=2", 200, `{"uses":[{"tokenID":"3","usedAt":"2026-03-01T09:30:00Z","protocol":"vault"}]}`,
			[]client.TokenUse{{TokenID: "3", UsedAt: when, Protocol: "vault"}},
		}, {
			"last readers",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Readers(ctx, "2") },
			"GET /api/v2/orgs/2/secrets/readers", 200, `{"secrets":[]}`,
			[]client.SecretReaders{},
		}, {
			"rollback",
			func(ctx context.Context, c *client.Client) (any, error) { return c.Rollback(ctx, "2", 5) },
			`POST /api/v2/orgs/2/secrets/rollback {"version":5}`, 200, `{"version":8,"changed":true}`, client.WriteResult{Version: 8, Changed: true},
		}, {
			"dismiss",
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.Unpin(ctx, "2", 5) },
			`POST /api/v2/orgs/2/secrets/dismiss {"version":5}`, 204, "", nil,
		}, {
			"write values",
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.WriteValues(ctx, "2", map[string]*string{"a": str("<1>"), "b": nil}, nil)
			},
			`PATCH /api/v2/orgs/2/secrets/values {"a":"<1>","b":null}`, 200, `{"version":8,"changed":true}`, client.WriteResult{Version: 8, Changed: true},
		}, {
			"replace values with none",
			func(ctx context.Context, c *client.Client) (any, error) { return c.ReplaceValues(ctx, "2", nil, nil) },
			`PUT /api/v2/orgs/2/secrets/values {}`, 200, `{"version":9,"changed":true}`, client.WriteResult{Version: 9, Changed: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			cl := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = strings.TrimSpace(r.Method + " " + r.RequestURI + " " + string(body))
				if a := r.Header.Get("Authorization"); a != "Token "+token {
					t.Errorf("Authorization is %q", a)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				io.WriteString(w, c.answer)
			}))
			v, err := c.call(t.Context(), cl)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("sent %s\nwant %s", got, c.want)
			}
			if !reflect.DeepEqual(v, c.returns) {
				t.Errorf("returned %+v\nwant     %+v", v, c.returns)
			}
		})
	}
}

// TestPages reads a list that is longer than one page.
func TestPages(t *testing.T) {
	cl := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var offset, limit int
		fmt.Sscan(r.FormValue("offset"), &offset)
		fmt.Sscan(r.FormValue("limit"), &limit)
		var users []client.User
		for i := offset; i < min(offset+limit, 250); i++ {
			users = append(users, client.User{ID: fmt.Sprint(i)})
		}
		json.NewEncoder(w).Encode(map[string]any{"users": users})
	}))
	users, err := cl.Users(t.Context())
	if err != nil || len(users) != 250 || users[249].ID != "249" {
		t.Fatalf("got %d users, %v", len(users), err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []client.Config{
		{},
		{URL: "localhost:8086"},
		{URL: "ftp://localhost"},
		{URL: "http://"},
		{URL: "http://user:" + token + "@localhost"},
		{URL: "http://host:port:" + token},
		{URL: "user:" + token + "@localhost"},
		{URL: "http:user:" + token + "@localhost"},
		{URL: "http:/user:" + token + "@localhost"},
		{URL: "http://localhost?token=" + token},
		{URL: "http://localhost", Token: token + "\n"},
		{URL: "http://localhost", Token: token + "\u00e9"},
	} {
		_, err := client.New(c)
		if err == nil {
			t.Errorf("%+v was accepted", c)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("the error contains a secret: %v", err)
		}
	}
}

func TestURLWithPath(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.RequestURI
		io.WriteString(w, `{}`)
	}))
	defer srv.Close()
	if _, err := newClientFor(t, srv.URL+"/keep%2Fer/").Me(t.Context()); err != nil || got != "/keep%2Fer/api/v2/me" {
		t.Errorf("requested %s, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   client.Error
	}{
		{"code and message", 404, nil, `{"code":"not found","message":"organization not found"}`, client.Error{Code: client.ErrNotFound, Message: "organization not found"}},
		{"code in the header", 401, http.Header{"X-Platform-Error-Code": {"forbidden"}}, `x`, client.Error{Code: client.ErrForbidden, Message: "the server returned 401 Unauthorized"}},
		{"not from Fluxkeep", 502, nil, `<html>`, client.Error{Code: client.ErrInternal, Message: "the server returned 502 Bad Gateway"}},
		{"a failed precondition has one code", 412, nil, `{"code":"conflict","message":"changed"}`, client.Error{Code: client.ErrChanged, Message: "changed"}},
		{"empty", 413, nil, "", client.Error{Code: client.ErrRequestTooLarge, Message: "the server returned 413 Request Entity Too Large"}},
		{"no TLS", 400, nil, "Client sent an HTTP request to an HTTPS server.\n", client.Error{Code: client.ErrInvalid, Message: "the server uses TLS; its URL must start with https://"}},
		{"redirect", 302, http.Header{"Location": {"https://other.example/api/v2/me?x=1"}}, "", client.Error{Code: client.ErrInvalid, Message: "the server redirects to https://other.example; the client does not follow redirects"}},
		{"unexpected not modified", 304, nil, "", client.Error{Code: client.ErrInvalid, Message: "the server redirects to another place; the client does not follow redirects"}},
		{"repeats the token", 400, nil, `{"code":"invalid","message":"no such token: ` + token + `"}`, client.Error{Code: client.ErrInvalid, Message: "no such token: [token]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			_, err := cl.Me(t.Context())
			var got *client.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			c.want.Status = c.status
			if *got != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
			if !errors.Is(err, c.want.Code) || errors.Is(err, client.ErrNotImplemented) {
				t.Errorf("errors.Is gives a wrong result for %v", err)
			}
		})
	}
}

// TestErrorsShowNothing checks that the errors of failed requests contain no
// token, no name, and nothing from the answer.
func TestErrorsShowNothing(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"a":"v4lue`)
	}))
	defer cut.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"a":["v4lue", 12345678901234567890]}`)
	}))
	defer other.Close()
	for _, address := range []string{gone.URL, cut.URL, other.URL} {
		_, _, err := newClientFor(t, address).Values(t.Context(), "o", &client.ValuesQuery{Names: []string{"n4me"}})
		if err == nil {
			t.Fatal("no error")
		}
		for _, secret := range []string{token, "n4me", "v4lue", "123456"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error contains %q: %v", secret, err)
			}
		}
	}
}

func TestClientShowsNoToken(t *testing.T) {
	c := newClientFor(t, "http://localhost")
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s", c, c, c)} {
		if strings.Contains(s, token) {
			t.Errorf("the client prints as %s", s)
		}
	}
}

func TestEmptyIDs(t *testing.T) {
	cl := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s", r.RequestURI) }))
	_, err1 := cl.SecretNames(t.Context(), "")
	err2 := cl.DeleteSecret(t.Context(), "o", "")
	_, _, err3 := cl.Values(t.Context(), "", nil)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, client.ErrEmptyValue) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRetry(t *testing.T) {
	read := func(ctx context.Context, c *client.Client) error { _, err := c.Me(ctx); return err }
	set := func(ctx context.Context, c *client.Client) error {
		return c.SetSecrets(ctx, "o", map[string]string{"a": "1"})
	}
	create := func(ctx context.Context, c *client.Client) error { _, err := c.CreateUser(ctx, "ann"); return err }
	for _, c := range []struct {
		name       string
		call       func(context.Context, *client.Client) error
		status     int
		failures   int // failures before a success
		retryAfter string
		requests   int
		ok         bool
	}{
		{"a read, unavailable", read, 503, 2, "", 3, true},
		{"a write, too many", set, 429, 1, "", 2, true},
		{"waits as long as asked", read, 429, 1, "1", 2, true},
		{"gives up", read, 503, 9, "", 4, false},
		{"not a request that must not be repeated", create, 503, 1, "", 1, false},
		{"not when asked to wait for hours", read, 503, 1, "7200", 1, false},
		{"not other errors", read, 500, 1, "", 1, false},
	} {
		synctest.Test(t, func(t *testing.T) { // the client doesn't repeat what was refused slowly
			requests := 0
			answer := roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == "PATCH" {
					if body, _ := io.ReadAll(r.Body); string(body) != "{\"a\":\"1\"}\n" {
						t.Errorf("%s: sent %q", c.name, body)
					}
				}
				w := httptest.NewRecorder()
				if requests++; requests <= c.failures {
					w.Header().Set("Retry-After", c.retryAfter)
					w.WriteHeader(c.status)
				} else {
					io.WriteString(w, "{}")
				}
				return w.Result(), nil
			})
			cl, err := client.New(client.Config{URL: "http://fluxkeep.example", HTTPClient: &http.Client{Transport: answer}})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			err = c.call(t.Context(), cl)
			if (err == nil) != c.ok || requests != c.requests {
				t.Errorf("%s: %d requests, error %v", c.name, requests, err)
			}
			if c.retryAfter == "1" && time.Since(start) < time.Second {
				t.Errorf("%s: did not wait as long as asked", c.name)
			}
		})
	}
}

// TestNoRetryAfterSlowRefusal checks that a server that waits before it refuses isn't made
// to wait several times.
func TestNoRetryAfterSlowRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c, err := client.New(client.Config{URL: "http://fluxkeep.example", HTTPClient: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			time.Sleep(5 * time.Second)
			return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader(`{"code":"unavailable"}`))}, nil
		})}})
		if err != nil {
			t.Fatal(err)
		}
		var e *client.Error
		if _, err := c.Me(t.Context()); !errors.As(err, &e) || e.Status != 503 || asked != 1 {
			t.Errorf("after %d requests: %v", asked, err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryEndsWithContext(t *testing.T) {
	cl := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(503)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
	defer cancel()
	_, err := cl.Me(ctx)
	var e *client.Error
	if !errors.As(err, &e) || e.RetryAfter != 30*time.Second {
		t.Errorf("got %v", err)
	}
	if ctx.Err() != nil {
		t.Error("waited although the deadline comes first")
	}
}

func TestSession(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signin", func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "ann" || p != "pw" {
			t.Errorf("signed in as %q", r.Header.Get("Authorization"))
		}
		http.SetCookie(w, &http.Cookie{Name: "influxdb-oss-session", Value: "S", Path: "/api/"})
		w.WriteHeader(204)
	})
	mux.HandleFunc("GET /api/v2/me", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"name":%q}`, r.Header.Get("Cookie")+"|"+r.Header.Get("Authorization"))
	})
	mux.HandleFunc("POST /api/v2/signout", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	cl := newClient(t, mux)
	if err := cl.SignIn(t.Context(), "ann", "pw"); err != nil {
		t.Fatal(err)
	}
	if me, err := cl.Me(t.Context()); err != nil || me.Name != "influxdb-oss-session=S|" {
		t.Errorf("signed in: %q, %v", me.Name, err)
	}
	if err := cl.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if me, err := cl.Me(t.Context()); err != nil || me.Name != "|Token "+token {
		t.Errorf("signed out: %q, %v", me.Name, err)
	}
}

func TestProgress(t *testing.T) {
	cl := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"version":1,"changed":true}`)
	}))
	var calls, last, total int64
	big := strings.Repeat("x", 1<<20)
	_, err := cl.ReplaceValues(t.Context(), "o", map[string]string{"a": big}, &client.WriteOptions{Progress: func(sent, all int64) {
		if sent < last {
			t.Errorf("progress went back from %d to %d", last, sent)
		}
		calls, last, total = calls+1, sent, all
	}})
	if err != nil || calls < 2 || last != total || total < 1<<20 {
		t.Errorf("%d calls, %d of %d, %v", calls, last, total, err)
	}
}

// TestProgressEnds: a transport that still reads the body of a request that has its answer
// reports no more progress.
func TestProgressEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodies []io.Reader
		refuse := roundTrip(func(r *http.Request) (*http.Response, error) {
			bodies = append(bodies, r.Body)
			if _, err := r.Body.Read(make([]byte, 10)); err != nil {
				t.Error(err)
			}
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		})
		cl, err := client.New(client.Config{URL: "http://keep", HTTPClient: &http.Client{Transport: refuse}})
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		_, err = cl.ReplaceValues(t.Context(), "o", map[string]string{"a": "value"}, &client.WriteOptions{Progress: func(int64, int64) { calls++ }})
		if err == nil || len(bodies) < 2 || calls != len(bodies) {
			t.Errorf("sent %d times with %d calls, %v", len(bodies), calls, err)
		}
		for _, b := range bodies {
			if _, err := io.Copy(io.Discard, b); err != nil {
				t.Error(err)
			}
		}
		if calls != len(bodies) {
			t.Errorf("%d calls after the answers", calls-len(bodies))
		}
	})
}

// FuzzSecretPath checks that the server decodes a path to the name it was made
// from.
func FuzzSecretPath(f *testing.F) {
	for _, s := range []string{"a", "with/slash", "..", ".", "%2F", "a b+c", "ü😀", "?x#y", "delete", "\n", "//"} {
		f.Add(s)
	}
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		w.WriteHeader(204)
	}))
	f.Cleanup(srv.Close)
	cl, err := client.New(client.Config{URL: srv.URL})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		if err := cl.DeleteSecret(t.Context(), "o", name); err != nil {
			t.Fatal(err)
		}
		segments := strings.Split(got, "/")
		if name == "." || name == ".." { // these are sent in a body
			name = "delete"
		}
		if len(segments) != 7 {
			t.Fatalf("%q became the path %s", name, got)
		}
		if back, err := url.PathUnescape(segments[6]); err != nil || back != name {
			t.Fatalf("%q came back as %q (%s), %v", name, back, got, err)
		}
	})
}
