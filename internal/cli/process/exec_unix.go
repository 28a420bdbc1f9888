//go:build unix

package process

import (
	"fmt"
	"syscall"
)

// Exec replaces this process with the command, which then has the terminal,
// signals and exit status to itself. It returns only if that fails.
func Exec(path string, args, env []string) error {
	if err := syscall.Exec(path, args, env); err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	return nil
}
