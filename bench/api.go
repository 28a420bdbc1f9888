package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// api is a client of the API that Fluxkeep and InfluxDB share.
type api struct {
	url   string
	token string
	org   string // ID of the organization from setup
}

const adminName = "admin"

// setUp creates the first user, organization and token.
func (a *api) setUp(ctx context.Context, password string) error {
	var answer struct {
		Auth struct{ Token string }
		Org  struct{ ID string }
	}
	err := a.do(ctx, http.MethodPost, "/api/v2/setup",
		map[string]string{"username": adminName, "password": password, "org": "bench", "bucket": "bench"}, &answer)
	a.token, a.org = answer.Auth.Token, answer.Org.ID
	return err
}

func (a *api) createOrganization(ctx context.Context, name string) (id string, err error) {
	var answer struct{ ID string }
	err = a.do(ctx, http.MethodPost, "/api/v2/orgs", map[string]string{"name": name}, &answer)
	return answer.ID, err
}

func secretsPath(org string) string { return "/api/v2/orgs/" + org + "/secrets" }

// Bodies with a million secrets are sent in parts that every server accepts.
const namesPerPatch = 50_000

// fill sets the secrets with the numbers from <= i < to.
func (a *api) fill(ctx context.Context, org string, from, to int) error {
	for ; from < to; from = min(from+namesPerPatch, to) {
		if err := a.do(ctx, http.MethodPatch, secretsPath(org), manySecrets(from, min(from+namesPerPatch, to)), nil); err != nil {
			return err
		}
	}
	return nil
}

// keptVersions is the number of versions that a server may need: ten are
// retained, and another 64 remain for a while to merge with.
const keptVersions = 10 + 64

// settle writes versions of one name until those that filled the organization
// are pruned, which is extra work for a later write. It returns the time of
// the slowest write.
func (a *api) settle(ctx context.Context, org string, names int) (slowest time.Duration, err error) {
	parts := (names + namesPerPatch - 1) / namesPerPatch
	for i := range parts + keptVersions {
		begin := time.Now()
		change := map[string]string{secretName(0): fmt.Sprintf("settled-%d", i)}
		if err := a.do(ctx, http.MethodPatch, secretsPath(org), change, nil); err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(begin))
	}
	return slowest, nil
}

func manySecrets(from, to int) map[string]string {
	secrets := make(map[string]string, to-from)
	for i := from; i < to; i++ {
		secrets[secretName(i)] = fmt.Sprintf("value-of-secret-%07d", i)
	}
	return secrets
}

// secretName is the name that the wrk scripts use for secret number i.
func secretName(i int) string { return fmt.Sprintf("secret_%07d", i) }

// do sends a request. An unsuccessful answer is an error, whose text contains
// nothing from the request's body.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	return a.doWith(ctx, a.header(), method, path, in, out)
}

func (a *api) doWith(ctx context.Context, header http.Header, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return err
	}
	q.Header = header
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s", method, path, r.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (a *api) header() http.Header {
	h := http.Header{}
	if a.token != "" {
		h.Set("Authorization", "Token "+a.token)
	}
	return h
}

// newPassword returns a password or token for one run.
func newPassword() string { return rand.Text() }
