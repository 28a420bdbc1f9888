//go:build !unix

package pebblestore

import "github.com/cockroachdb/pebble/v2/vfs"

func makePrivate(vfs.File) error { return nil }

func ownFolder(string) (bool, error) { return false, nil }
