package process

import (
	"io"
	"os"
	"time"
)

// Supervisor runs a command, and passes on what is sent to this process.
type Supervisor struct {
	Path string   // of the program
	Args []string // with the program's name first

	Stdin, Stdout, Stderr *os.File

	// Grace is how long the command has to end after SIGTERM, before it is
	// killed.
	Grace time.Duration
	// Log is told, line by line, what is done to the command.
	Log io.Writer
}

// Change is what to do when a secret has changed: start the command again with
// another environment or, if Signal is set, send it that.
type Change struct {
	Env    []string
	Signal os.Signal
}
