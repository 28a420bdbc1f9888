//go:build race

// Package race tells tests whether they run with the race detector, which makes
// processes slow and sync.Pool drop items on purpose.
package race

// Enabled reports whether the race detector is built in.
const Enabled = true
