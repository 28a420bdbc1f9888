// Package secretfile reads and writes files of names and values: dotenv, JSON
// and YAML. It reads back exactly the bytes that it wrote.
//
// A file may hold any UTF-8 value. A name that the format can't hold, or an
// ambiguity in a file (a duplicate name, a number instead of text), is an error.
// Errors contain a line number or a name, never a value.
//
// The server decides which names and values are valid.
package secretfile
