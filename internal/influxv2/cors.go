package influxv2

import "net/http"

// Browsers may call the API from any site, as with InfluxDB. That is safe: no
// response allows them to send the session cookie along, and the cookie is
// ignored in changes from other sites. So another site can do no more than the
// holder of a token that it knows.

func allowOrigin(header http.Header, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Vary", "Origin")
	}
}

// preflight responds to OPTIONS requests, before authentication.
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
