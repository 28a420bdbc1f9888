package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// remoteAddr returns the client's address: that of the connection or, behind a
// trusted proxy, the last address in X-Forwarded-For that isn't a trusted proxy.
// The client can make up any addresses before it.
func remoteAddr(r *http.Request, trusted []netip.Prefix) string {
	peer := hostOf(r.RemoteAddr)
	if len(trusted) == 0 || !isTrusted(peer, trusted) {
		return peer
	}
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; rest != ""; {
			var last string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, last = rest[:at], rest[at+1:]
			} else {
				rest, last = "", rest
			}
			addr, err := netip.ParseAddr(hostOf(strings.TrimSpace(last)))
			if err != nil {
				return peer // the addresses before it can't be trusted
			}
			peer = addr.Unmap().WithZone("").String()
			if !isTrusted(peer, trusted) {
				return peer
			}
		}
	}
	return peer
}

// hostOf removes the port from an address, and the brackets of IPv6.
func hostOf(addr string) string {
	if rest, ok := strings.CutPrefix(addr, "["); ok {
		host, _, _ := strings.Cut(rest, "]")
		return host
	}
	if host, _, ok := strings.Cut(addr, ":"); ok && strings.Count(addr, ":") == 1 {
		return host
	}
	return addr
}

func isTrusted(host string, trusted []netip.Prefix) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ownHost returns a function that reports whether browsers reach the server by the
// Host header of a request. Without TLS, a web page elsewhere can have its own name
// resolve to a loopback address (DNS rebinding), and the browser then treats the server
// as part of that page's site. So a server that listens only on loopback accepts no names
// except localhost and that of its page's origin, at which a proxy serves it.
//
// bound is the address that the server listens on: many names resolve to loopback.
func ownHost(c *config.Config, bound net.Addr) func(*http.Request) bool {
	if !config.Loopback(hostOf(bound.String())) {
		return func(*http.Request) bool { return true }
	}
	own := ""
	if u, err := url.Parse(c.WebOrigin); err == nil {
		own = strings.ToLower(u.Hostname())
	}
	return func(r *http.Request) bool {
		host := hostOf(r.Host)
		if _, err := netip.ParseAddr(host); err == nil || r.TLS != nil {
			return true
		}
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		return host == "localhost" || strings.HasSuffix(host, ".localhost") || host == own && own != ""
	}
}

// secure reports whether the client's connection, to this server or to a trusted
// proxy, is encrypted.
func secure(r *http.Request, trusted []netip.Prefix) bool {
	if r.TLS != nil {
		return true
	}
	if len(trusted) == 0 || !isTrusted(hostOf(r.RemoteAddr), trusted) {
		return false
	}
	// Each proxy may add one. The first is the client's own connection.
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(first), "https")
}
