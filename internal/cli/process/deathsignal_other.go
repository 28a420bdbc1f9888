//go:build unix && !linux

package process

import "syscall"

// setDeathSignal does nothing: only Linux can.
func setDeathSignal(*syscall.SysProcAttr) {}
