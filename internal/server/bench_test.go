package server

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// BenchmarkSocket compares a bare net/http server with one that has this package's
// layers around its handler, over persistent connections.
func BenchmarkSocket(b *testing.B) {
	body := make([]byte, 512)
	fn := func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Write(body)
	}
	all := newTestHandler(io.Discard, fn)
	all.logger, _ = NewLogger(io.Discard, config.New())
	c := config.New()
	for _, side := range []struct {
		name   string
		server func() *http.Server
	}{
		{"bare", func() *http.Server { return &http.Server{Handler: http.HandlerFunc(fn)} }},
		{"all", func() *http.Server {
			return &http.Server{Handler: all, ReadHeaderTimeout: c.ReadHeaderTimeout, IdleTimeout: c.IdleTimeout, MaxHeaderBytes: maxHeader}
		}},
	} {
		b.Run(side.name, func(b *testing.B) {
			srv := httptest.NewUnstartedServer(nil)
			srv.Config = side.server()
			if side.name == "all" {
				srv.Listener = limitListener(srv.Listener, c.MaxConnections, c.MaxConnections, nil, slog.New(slog.DiscardHandler))
			}
			srv.Start()
			defer srv.Close()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				r := bufio.NewReader(conn)
				for pb.Next() {
					if _, err := io.WriteString(conn, "GET /api/v2/things/x HTTP/1.1\r\nHost: x\r\nAuthorization: Token x\r\n\r\n"); err != nil {
						b.Error(err)
						return
					}
					res, err := http.ReadResponse(r, nil)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
				}
			})
		})
	}
}
