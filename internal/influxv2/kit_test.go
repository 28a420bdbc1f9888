package influxv2_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// api is a Handler on a real domain.
type api struct {
	*keeptest.Kit
	handler *influxv2.Handler
}

func newAPI(tb testing.TB, o *keeptest.Options) *api {
	tb.Helper()
	k := keeptest.New(tb, o)
	return &api{k, influxv2.New(k.Keep, influxv2.Config{
		Version: "1.2.3", Commit: "abc", Started: time.Now(),
		Settings: func() map[string]any { return map[string]any{"data-dir": "data"} },
	})}
}

// ServeHTTP is the Handler with the wrappers that the server adds.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := httpapi.WithExchange(r.Context(), &httpapi.Exchange{Origin: httpapi.Origin{Remote: "192.0.2.1", Request: "req-1", Trace: "trace-1"}})
	a.handler.ServeHTTP(w, r.WithContext(ctx))
}

// do sends a request with the operator's token, unless headers, which are
// pairs of name and value, say otherwise.
func (a *api) do(tb testing.TB, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	tb.Helper()
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, target, nil)
	} else {
		r = httptest.NewRequest(method, target, strings.NewReader(body))
	}
	r.Header.Set("Authorization", "Token "+a.OperatorToken)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// secrets returns a path below the secrets of the kit's organization.
func (a *api) secrets(rest string) string {
	return "/api/v2/orgs/" + a.Org.String() + "/secrets" + rest
}

// want checks the status and error code of a response.
func want(tb testing.TB, w *httptest.ResponseRecorder, status int, code keep.Code) {
	tb.Helper()
	got := keep.Code(w.Header().Get("X-Platform-Error-Code"))
	if w.Code != status || got != code {
		tb.Errorf("status %d, code %q, body %s; want %d, %q", w.Code, got, w.Body, status, code)
	}
	if code != "" && !strings.Contains(w.Body.String(), string(code)) {
		tb.Errorf("the body does not have the code %q: %s", code, w.Body)
	}
}

func readAll(tb testing.TB, r io.Reader) string {
	tb.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func basic(user, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// sessionOf signs in the kit's user and returns the Cookie header.
func sessionOf(a *api) string {
	r := httptest.NewRequest("POST", "/api/v2/signin", nil)
	r.SetBasicAuth("admin", a.Password)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return cookie
}
