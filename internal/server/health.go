package server

import (
	"log/slog"
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// healthConnections is how many connections --health-address has at a time.
const healthConnections = 64

// healthServer answers those who watch the server, at an address of its own
// that floods of the others don't reach. It speaks plain HTTP.
func healthServer(h http.Handler, c *config.Config, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !probe(r.URL.Path) {
				http.NotFound(w, r)
				return
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: c.ReadHeaderTimeout,
		IdleTimeout:       c.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          connectionLog(logger),
	}
}
