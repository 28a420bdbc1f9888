//go:build unix

package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseSignal finds a signal by its name, with or without SIG, or its number.
func ParseSignal(s string) (os.Signal, error) {
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	if n, err := strconv.Atoi(s); err == nil {
		sig = syscall.Signal(n)
	}
	if unix.SignalName(sig) == "" {
		return nil, fmt.Errorf("there is no signal %q", s)
	}
	return sig, nil
}
