//go:build unix

package process

import (
	"fmt"
	"syscall"
)

// Exec replaces this process by the command, which so has its terminal,
// signals and exit status to itself. It returns only when that fails.
func Exec(path string, args, env []string) error {
	if err := syscall.Exec(path, args, env); err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	return nil
}
