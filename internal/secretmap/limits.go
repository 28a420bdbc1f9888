package secretmap

// MaxNames is how many names a map can have.
const MaxNames = 1_000_000
