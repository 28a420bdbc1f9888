package vaultkv_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/vaultkv"
)

// server is a handler on its own domain.
type server struct {
	*keeptest.Kit
	http.Handler
	vault *vaultkv.Handler
}

func newServer(tb testing.TB, o *keeptest.Options) *server {
	tb.Helper()
	k := keeptest.New(tb, o)
	v := vaultkv.New(k.Keep, vaultkv.Config{Version: "1.2.3", Started: k.Clock.Now()})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.ServeHTTP(w, r.WithContext(httpapi.WithExchange(r.Context(), &httpapi.Exchange{Origin: httpapi.Origin{Remote: "192.0.2.7", Trace: "t1"}})))
	})
	return &server{Kit: k, Handler: h, vault: v}
}

// answer is a response.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// do sends a request. Headers are pairs of name and value.
func (s *server) do(tb testing.TB, method, target, token, body string, headers ...string) answer {
	tb.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), text: w.Body.String()}
	if w.Body.Len() > 0 {
		d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
		d.UseNumber()
		if err := d.Decode(&a.json); err != nil {
			tb.Fatalf("%s %s: the response is not JSON: %v: %q", method, target, err, a.text)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			tb.Errorf("%s %s: Content-Type is %q", method, target, ct)
		}
	}
	return a
}

// op sends a request as the operator.
func (s *server) op(tb testing.TB, method, target, body string, headers ...string) answer {
	tb.Helper()
	return s.do(tb, method, target, s.OperatorToken, body, headers...)
}

// at returns a path of the engine for the kit's organization.
func (s *server) at(kind string) string { return "/v1/secret/" + kind + "/" + s.Org.String() }

// influxd returns the same path at the address for influxd.
func (s *server) influxd(kind string) string { return "/influxd" + s.at(kind) }

// want checks an answer's status.
func (a answer) want(tb testing.TB, status int) answer {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("got %d %s, want %d", a.status, a.text, status)
	}
	return a
}

// wantErrors checks that a response is an error in Vault's format.
func (a answer) wantErrors(tb testing.TB, status int, texts ...string) {
	tb.Helper()
	want := []any{}
	for _, text := range texts {
		want = append(want, text)
	}
	if a.status != status || !reflect.DeepEqual(a.json, map[string]any{"errors": want}) {
		tb.Errorf("got %d %s, want %d with errors %q", a.status, a.text, status, texts)
	}
}

// get follows a path of field names through a response.
func (a answer) get(tb testing.TB, path ...string) any {
	tb.Helper()
	var v any = a.json
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			tb.Fatalf("no %v in %s", path, a.text)
		}
		if v, ok = m[name]; !ok {
			tb.Fatalf("no %v in %s", path, a.text)
		}
	}
	return v
}

// version returns the version that a write created or a read returned.
func (a answer) version(tb testing.TB) uint64 {
	tb.Helper()
	path := []string{"data", "version"}
	if _, ok := a.get(tb, "data").(map[string]any)["metadata"]; ok {
		path = []string{"data", "metadata", "version"}
	}
	n, err := a.get(tb, path...).(json.Number).Int64()
	if err != nil {
		tb.Fatal(err)
	}
	return uint64(n)
}

// document returns the secrets of a read and their version; nothing for a 404.
func (a answer) document(tb testing.TB) (map[string]string, uint64) {
	tb.Helper()
	if a.status == http.StatusNotFound {
		return map[string]string{}, 0
	}
	a.want(tb, http.StatusOK)
	out := map[string]string{}
	for name, value := range a.get(tb, "data", "data").(map[string]any) {
		out[name] = value.(string)
	}
	return out, a.version(tb)
}

func toJSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// body returns the body of a data write, without check-and-set if cas < 0.
func body(tb testing.TB, data map[string]string, cas int) string {
	tb.Helper()
	b := map[string]any{"data": data}
	if cas >= 0 {
		b["options"] = map[string]any{"cas": cas}
	}
	return toJSON(tb, b)
}

// history returns the existing versions, newest first.
func (s *server) history(tb testing.TB) []keep.VersionInfo {
	tb.Helper()
	h, err := s.History(tb.Context(), s.Operator(tb, keep.Vault), s.Org)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// readerToken returns a token that may read the secrets of the kit's
// organization, and writerToken one that may also write them.
func (s *server) readerToken(tb testing.TB, names ...string) keep.Token {
	tb.Helper()
	return s.MustToken(tb, keep.NewToken{Permissions: keeptest.ReadSecrets(s.Org), Names: names})
}

func (s *server) writerToken(tb testing.TB, names ...string) keep.Token {
	tb.Helper()
	return s.MustToken(tb, keep.NewToken{Permissions: keeptest.WriteSecrets(s.Org), Names: names})
}

// otherToken returns a token for the secrets of another organization.
func (s *server) otherToken(tb testing.TB) keep.Token {
	tb.Helper()
	o, err := s.CreateOrganization(tb.Context(), s.Operator(tb, keep.InfluxDB), "other", "")
	if err != nil {
		tb.Fatal(err)
	}
	return s.MustToken(tb, keep.NewToken{Org: o.ID, Permissions: keeptest.WriteSecrets(o.ID)})
}

const mergePatch = "application/merge-patch+json"

func isTime(v any) bool {
	s, _ := v.(string)
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}

// keysOf lists the keys of an object in order.
func keysOf(object map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(object)), " ")
}
