// Package influxv2 implements InfluxDB's protocol, version 2: the Secrets API
// and what it depends on (setup, sign-in, users, organizations, tokens),
// exactly as clients expect them, and our own routes below
// /api/v2/fluxkeep and …/secrets that read values, show history and roll back.
//
// This package contains only the protocol: routes, the shape of requests and
// responses, the order of checks, and the status of each error. The rules
// themselves are in keep and the packages below it.
//
// Where InfluxDB's own response is a defect (a client's mistake reported as an
// internal error, input silently changed or dropped), the response here is an
// error that says so.
package influxv2
