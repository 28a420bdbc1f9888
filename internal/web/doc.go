// Package web serves the web page for people under /ui/. It is a view of the domain
// like the protocols: it finds the caller, calls package keep, and renders the
// result. Permissions and the rules for secrets are the domain's.
//
// A page contains a value only if somebody has asked for it, and no name, value or
// token is in a URL, a title or a cookie. See DESIGN.md.
package web
