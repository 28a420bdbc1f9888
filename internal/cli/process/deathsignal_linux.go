package process

import "syscall"

// setDeathSignal makes the kernel stop the command when this process is killed.
func setDeathSignal(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
