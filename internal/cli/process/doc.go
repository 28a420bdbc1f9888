// Package process runs a command with secrets in its environment: in the place
// of this process, or watched over, to start it again or to signal it when a
// secret changes.
//
// Where the secrets come from, and when they have changed, is for the caller
// to say. Errors have names of secrets and variables, never values.
package process
