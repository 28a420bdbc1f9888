package influxv2_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// discard is a ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// serve returns a function that sends one request through the handler.
func serve(tb testing.TB, a *api, method, target string, body func() string) func() {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Token "+a.OperatorToken)
	w := &discard{header: http.Header{}}
	return func() {
		clear(w.header)
		if body != nil {
			text := strings.NewReader(body())
			r.Body, r.ContentLength = io.NopCloser(text), int64(text.Len())
		}
		a.handler.ServeHTTP(w, r)
		if w.status/100 != 2 {
			tb.Fatalf("%s %s: %d", method, target, w.status)
		}
	}
}

func filled(tb testing.TB, n int) *api {
	a := newAPI(tb, nil)
	secrets := map[string]string{}
	for i := range n {
		secrets[fmt.Sprintf("secret_%06d", i)] = "a value of some length"
	}
	a.MustChange(tb, keep.Change{Set: secrets})
	return a
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := filled(b, n)
			list := serve(b, a, "GET", a.secrets(""), nil)
			b.ReportAllocs()
			for b.Loop() {
				list()
			}
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	a := filled(b, 10)
	i := 0
	patch := serve(b, a, "PATCH", a.secrets(""), func() string {
		i++
		return fmt.Sprintf(`{"secret_000001":"value %d"}`, i)
	})
	b.ReportAllocs()
	for b.Loop() {
		patch()
	}
}

func BenchmarkValues(b *testing.B) {
	for _, query := range []string{"", "?name=secret_000001"} {
		b.Run("values"+query, func(b *testing.B) {
			a := filled(b, 10)
			get := serve(b, a, "GET", a.secrets("/values"+query), nil)
			b.ReportAllocs()
			for b.Loop() {
				get()
			}
		})
	}
}

// BenchmarkDecodeSecrets compares PATCH's fast decoder with its fallback.
func BenchmarkDecodeSecrets(b *testing.B) {
	var body bytes.Buffer
	body.WriteByte('{')
	for i := range 1000 {
		fmt.Fprintf(&body, `"secret_%06d":"a value of some length",`, i)
	}
	body.WriteString(`"last":"\u00e4\ud83d\ude00"}`)
	for name, decode := range map[string]func([]byte) error{
		"ours": func(body []byte) error { _, err := influxv2.DecodeSecrets(body); return err },
		"encoding/json": func(body []byte) error {
			var m map[string]string
			return httpapi.Decode(body, &m)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			for b.Loop() {
				if err := decode(body.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestListAllocations limits the protocol's share of allocations for the most
// frequent response.
func TestListAllocations(t *testing.T) {
	a := filled(t, 10)
	list := serve(t, a, "GET", a.secrets(""), nil)
	list()
	whole := testing.AllocsPerRun(300, list)
	domain := testing.AllocsPerRun(300, func() {
		c, err := a.Authenticate(t.Context(), keep.Origin{Protocol: keep.InfluxDB}, a.OperatorToken)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.SecretNames(t.Context(), c, a.Org); err != nil {
			t.Fatal(err)
		}
	})
	// 20 and 7; the race detector sometimes empties pools.
	if own := whole - domain; own > 12 || whole > 32 {
		t.Errorf("%v allocations, %v of them the domain's", whole, domain)
	}
}
