package pebblestore

const (
	arenaChunk  = 16 << 10
	arenaRetain = 256 << 10
)

// arena hands out copies of bytes that all live until reset.
type arena struct {
	free []byte   // rest of the chunk in use
	used [][]byte // chunks, for reuse after reset
	next int      // first chunk in used that is not in use
	size int      // bytes handed out since reset
}

// copy returns a copy of b, whose capacity is its length.
func (a *arena) copy(b []byte) []byte {
	a.size += len(b)
	if len(b) > len(a.free) {
		if len(b) > arenaChunk/4 {
			return append(make([]byte, 0, len(b)), b...)
		}
		a.grow()
	}
	out := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(out, b)
	return out
}

func (a *arena) grow() {
	if a.next == len(a.used) {
		a.used = append(a.used, make([]byte, arenaChunk))
	}
	a.free = a.used[a.next]
	a.next++
}

// reset takes back all that was handed out. It keeps some memory for what
// comes next.
func (a *arena) reset() {
	if keep := arenaRetain / arenaChunk; len(a.used) > keep {
		clear(a.used[keep:])
		a.used = a.used[:keep]
	}
	a.free, a.next, a.size = nil, 0, 0
}
