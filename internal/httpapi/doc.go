// Package httpapi holds what the HTTP protocols share: tables of routes and
// the mux made from them, reading of request bodies, JSON in and out, when to
// come again, and where a request came from.
//
// It knows no protocol: what an error looks like is each one's own.
package httpapi
