package influxv2

import "net/http"

// Browsers may call the API from any site, as they may InfluxDB's. That is safe
// because no answer allows them to send the session's cookie along, and because
// the cookie does not count in a change that comes from another site: what
// another site can do, it can do with a token that it knows.

func allowOrigin(header http.Header, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Vary", "Origin")
	}
}

// preflight answers OPTIONS requests, before anybody is asked for a token.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	if r.Header.Get("Origin") == "" {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	w.Header().Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH")
	w.Header().Set("Access-Control-Allow-Headers", "Accept, Content-Type, Content-Length, Accept-Encoding, Authorization, User-Agent")
	w.WriteHeader(http.StatusNoContent)
	return true
}
