//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package cli

import (
	"os"

	"golang.org/x/term"
)

func readHidden(f *os.File) (string, error) {
	line, err := term.ReadPassword(int(f.Fd()))
	return string(line), err
}
