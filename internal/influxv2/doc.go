// Package influxv2 speaks InfluxDB's protocol, version 2: the Secrets API and
// what stands around it (setup, sign-in, users, organizations, tokens), to the
// byte where clients look, and beside it the few routes of our own that read
// values, show history and roll back.
//
// Here is only what is particular to the protocol: routes, the shape of
// requests and answers, the order of checks, and the status of each error. The
// rules themselves (permissions, versions, names, passwords) are in keep.
//
// Where InfluxDB's own answer is a defect (a client's mistake reported as an
// internal error, input that is changed or dropped without a word), the answer
// here is an error that says so.
package influxv2
