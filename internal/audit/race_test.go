//go:build race

package audit

// raceEnabled: the race detector makes sync.Pool drop items on purpose.
const raceEnabled = true
