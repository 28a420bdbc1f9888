// Package secretfile reads and writes files of names and values: dotenv, JSON
// and YAML. What it writes it reads back, byte for byte.
//
// A file may hold any value that is UTF-8. Where a format can't hold a name,
// or where a file could be read in two ways (a name that stands twice, a
// number where text must be), there is an error. Errors have a line or a name,
// never a value.
//
// What a name or a value may be is for the server to say.
package secretfile
