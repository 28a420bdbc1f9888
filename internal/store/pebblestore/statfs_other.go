//go:build !(darwin || freebsd || linux)

package pebblestore

import "errors"

func statfs(string) (space, error) { return space{}, errors.ErrUnsupported }
