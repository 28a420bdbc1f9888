package vaultkv_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a ResponseWriter that discards the response.
type discard struct {
	header http.Header
	status int
	bytes  int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { d.bytes += len(b); return len(b), nil }

// BenchmarkReadDocument measures a read from request to response, without the
// network: authentication, the domain, the audit log, the protocol.
func BenchmarkReadDocument(b *testing.B) {
	for _, names := range []int{1, 10, 100} {
		for _, path := range []string{"ID", "name"} {
			b.Run(fmt.Sprintf("%d secrets by %s", names, path), func(b *testing.B) {
				s := newServer(b, nil)
				data := map[string]string{}
				for i := range names {
					data[fmt.Sprintf("service-%d-password", i)] = "correct-horse-battery-staple"
				}
				s.op(b, "PUT", s.at("data"), body(b, data, 0)).want(b, 200)
				target := s.at("data")
				if path == "name" {
					target = "/v1/secret/data/acme"
				}
				r := httptest.NewRequest("GET", target, nil)
				r.Header.Set("X-Vault-Token", s.OperatorToken)
				w := &discard{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					s.vault.ServeHTTP(w, r)
				}
				if w.status != 200 {
					b.Fatalf("status %d", w.status)
				}
				b.SetBytes(int64(w.bytes) / int64(b.N))
			})
		}
	}
}

// BenchmarkWriteDocument measures a write by influxd, with a valid
// check-and-set.
func BenchmarkWriteDocument(b *testing.B) {
	s := newServer(b, nil)
	data := map[string]string{"db": "pw", "mail": "pw"}
	n := 0
	for b.Loop() {
		data["db"] = fmt.Sprint(n)
		if a := s.writeAs(b, s.OperatorToken, data, n); a.status != 200 {
			b.Fatalf("%d %s", a.status, a.text)
		}
		n++
	}
}
