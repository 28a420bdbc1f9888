package server

import (
	"log/slog"
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// healthConnections limits the connections to --health-address.
const healthConnections = 64

// healthServer serves health probes at a separate address, which floods of requests
// to the others don't affect. It uses plain HTTP.
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
