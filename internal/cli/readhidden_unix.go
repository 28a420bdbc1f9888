//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package cli

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readHidden reads a line from a terminal that doesn't echo it. Unlike
// term.ReadPassword, it ends with io.EOF when Ctrl-D is typed first.
func readHidden(f *os.File) (line string, err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err != nil {
		return "", err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, ioctlSetTermios, &hidden); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, ioctlSetTermios, before)) }()
	line, err = readLine(f)
	if line != "" && errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}
