//go:build !unix

package integrity

import "github.com/cockroachdb/pebble/v2/vfs"

// MakePrivate does nothing here.
func MakePrivate(vfs.File) error { return nil }

// OwnFolder does nothing here.
func OwnFolder(string) (bool, error) { return false, nil }
