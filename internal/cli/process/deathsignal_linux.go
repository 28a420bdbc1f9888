package process

import "syscall"

// setDeathSignal lets the command end when this process is killed.
func setDeathSignal(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
