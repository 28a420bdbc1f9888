// Package profile determines the server, token and organization from the same
// sources as the influx CLI: flags, INFLUX_… variables, and its configs file.
// So a command line that works with influx works here.
//
// The configs file is TOML, with one table per profile:
//
//	[default]
//	  url = "http://localhost:8086"
//	  token = "…"
//	  org = "acme"
//	  active = true
//
// Nothing here contacts a server. Errors name the file, the line and the
// profile, never the text there: it may be a token.
package profile
