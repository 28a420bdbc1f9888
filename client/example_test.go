package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// The examples talk to this test server, which has one organization with one
// secret.
func exampleServer() *httptest.Server {
	const org = "0b1c2d3e4f5a6b7c"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v2/orgs", func(w http.ResponseWriter, r *http.Request) {
		if name := r.FormValue("org"); name != "acme" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]string{"code": "not found", "message": fmt.Sprintf("organization name %q not found", name)})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"orgs": []client.Organization{{ID: org, Name: "acme"}}})
	})
	mux.HandleFunc("GET /api/v2/orgs/"+org+"/secrets/values", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, `{"db_password":"correct horse"}`)
	})
	mux.HandleFunc("PATCH /api/v2/orgs/"+org+"/secrets/values", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":8,"changed":true}`)
	})
	mux.HandleFunc("POST /api/v2/authorizations", func(w http.ResponseWriter, r *http.Request) {
		var n client.NewToken
		_ = json.NewDecoder(r.Body).Decode(&n)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(client.Token{ID: "1a2b3c4d5e6f7a8b", Token: "…", Names: n.Names, ExpiresAt: n.ExpiresAt})
	})
	return httptest.NewServer(mux)
}

func Example() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()

	c, err := client.New(client.Config{URL: server.URL, Token: os.Getenv("INFLUX_TOKEN")})
	if err != nil {
		fmt.Println(err)
		return
	}
	org, err := c.OrganizationByName(ctx, "acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	values, _, err := c.Values(ctx, org.ID, &client.ValuesQuery{Names: []string{"db_password"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(values.Secrets["db_password"]), "bytes")
	// Output: 13 bytes
}

func ExampleError() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = c.OrganizationByName(context.Background(), "acne")
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && errors.Is(err, client.ErrNotFound):
		fmt.Println(refused.Status, refused.Message)
	case err != nil:
		fmt.Println(err)
	}
	// Output: 404 organization name "acne" not found
}

// A program that embeds Flux sets the service as the SecretService of its
// dependencies; scripts then read with secrets.get(key: "db_password").
func ExampleClient_SecretService() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}

	var flux interface {
		LoadSecret(ctx context.Context, k string) (string, error)
	} = c.SecretService("0b1c2d3e4f5a6b7c", &client.SecretServiceOptions{MaxAge: time.Minute})

	password, err := flux.LoadSecret(context.Background(), "db_password")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(password), "bytes")
	// Output: 13 bytes
}

// Change what was read, unless the secrets have changed since.
func ExampleClient_WriteValues() {
	server := exampleServer()
	defer server.Close()
	ctx, org := context.Background(), "0b1c2d3e4f5a6b7c"
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}

	values, _, err := c.Values(ctx, org, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	rotated := values.Secrets["db_password"] + " 2"
	w, err := c.WriteValues(ctx, org, map[string]*string{
		"db_password":  &rotated,
		"old_password": nil, // deletes it
	}, &client.WriteOptions{IfMatch: values.ETag})
	if errors.Is(err, client.ErrChanged) {
		fmt.Println("the secrets have changed: read them again")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("version", w.Version)
	// Output: version 8
}

func ExampleClient_Watch() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}

	enough := errors.New("enough")
	err = c.Watch(context.Background(), "0b1c2d3e4f5a6b7c", nil, func(v client.Values) error {
		fmt.Println(len(v.Secrets), "secret")
		return enough // return nil to keep watching
	})
	fmt.Println(err)
	// Output:
	// 1 secret
	// enough
}

// Create a token that can read some names for a day.
func ExampleClient_CreateToken() {
	server := exampleServer()
	defer server.Close()
	org := "0b1c2d3e4f5a6b7c"
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}

	t, err := c.CreateToken(context.Background(), client.NewToken{
		OrgID:       org,
		Description: "telegraf",
		Permissions: client.SecretPermissions(org, client.Read),
		Names:       []string{"db_*"},
		ExpiresAt:   time.Now().Add(24 * time.Hour),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.ID, t.Names)
	// Output: 1a2b3c4d5e6f7a8b [db_*]
}
