// Package profile finds out which server to talk to, with which token and
// about which organization, from what the influx CLI reads: flags, INFLUX_…
// variables, and its configs file. So a command that works with influx works
// here.
//
// The configs file is TOML, one table a profile:
//
//	[default]
//	  url = "http://localhost:8086"
//	  token = "…"
//	  org = "acme"
//	  active = true
//
// Nothing here asks a server. Errors name the file, the line and the profile,
// never what stands there: it may be a token.
package profile
