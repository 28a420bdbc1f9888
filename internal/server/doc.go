// Package server runs a server: it opens the data folder, wires store, keys,
// audit log, domain and protocols together, and puts them behind a listener with
// limits, metrics, tracing and an orderly end.
//
// It's the only package that knows all the parts. What a request means is for the
// protocols, and who may do what is for the domain: nothing here looks into
// a body, a token or a name, and none of them can get into a log line, a metric
// or a span from here.
package server
