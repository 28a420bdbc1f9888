//go:build race

package audit

// raceEnabled: the race detector makes sync.Pool forget things on purpose.
const raceEnabled = true
