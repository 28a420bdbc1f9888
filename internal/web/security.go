package web

import (
	"net/http"
	"strconv"
	"strings"
)

// policy allows a page only what Fluxkeep serves itself. It is safe on an origin
// that also serves an API, because every answer of the server has
// X-Content-Type-Options.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// setHeaders sets the headers of every answer. Referrer-Policy isn't no-referrer,
// because forms would then send "Origin: null", which looks like another site.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-read=()")
	h.Set("Cache-Control", "no-store")
}

// Wants reports whether the page answers a request: its path is under /ui/, or a
// browser asks for /. Programs get the API's answer there.
func Wants(r *http.Request) bool {
	switch path := r.URL.Path; {
	case path == "/ui", strings.HasPrefix(path, "/ui/"):
		return true
	case path == "/":
		return (r.Method == http.MethodGet || r.Method == http.MethodHead) && prefersHTML(r.Header.Get("Accept"))
	}
	return false
}

// prefersHTML reports whether an Accept header names text/html, and no JSON that is
// preferred.
func prefersHTML(accept string) bool {
	html, json := 0.0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		kind, parameters, _ := strings.Cut(part, ";")
		quality := 1.0
		for p := range strings.SplitSeq(parameters, ";") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
				q, err := strconv.ParseFloat(text, 64)
				if err != nil {
					q = 0
				}
				quality = q
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html":
			html = max(html, quality)
		case "application/json":
			json = max(json, quality)
		}
	}
	return html > 0 && html >= json
}

// fromScript reports whether the page's script sent the request, and so expects
// JSON.
func fromScript(r *http.Request) bool { return r.Header.Get("Accept") == "application/json" }
