// Package process runs a command with secrets in its environment: by becoming
// it, or by watching over it, to start it again or to signal it when a secret
// changes.
//
// Where the secrets come from, and when they have changed, is for the caller
// to say. Errors have names of secrets and variables, never values.
package process
