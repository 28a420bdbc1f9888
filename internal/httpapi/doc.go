// Package httpapi holds what the HTTP protocols share: route tables and the
// mux built from them, request bodies, JSON encoding and decoding,
// Retry-After, limits, and the origin of a request.
//
// It knows no protocol: each protocol has its own error format.
package httpapi
