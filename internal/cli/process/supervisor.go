package process

import (
	"io"
	"os"
	"time"
)

// Supervisor runs a command and forwards this process's signals to it.
type Supervisor struct {
	Path string   // of the program
	Args []string // with the program's name first

	Stdin, Stdout, Stderr *os.File

	// Grace is how long the command has to end after SIGTERM, before it is
	// killed.
	Grace time.Duration
	// Log receives a line for each action on the command.
	Log io.Writer
}

// Change is the reaction to a changed secret: restart the command with Env or,
// if Signal is set, send it that signal.
type Change struct {
	Env    []string
	Signal os.Signal
}
