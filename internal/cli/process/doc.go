// Package process runs a command with secrets in its environment. The command
// either replaces this process, or runs under a supervisor that restarts or
// signals it when a secret changes.
//
// The caller provides the secrets and their changes. Errors contain names of
// secrets and variables, never values.
package process
