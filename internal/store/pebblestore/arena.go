package pebblestore

const (
	arenaChunk  = 16 << 10
	arenaRetain = 256 << 10
)

// arena allocates copies of bytes that are all freed together by reset.
type arena struct {
	free []byte   // unused part of the current chunk
	used [][]byte // chunks, for reuse after reset
	next int      // index in used of the first spare chunk
	size int      // bytes allocated since reset
}

// copy returns a copy of b with no spare capacity.
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

// reset frees all copies. It retains some memory for reuse.
func (a *arena) reset() {
	if keep := arenaRetain / arenaChunk; len(a.used) > keep {
		clear(a.used[keep:])
		a.used = a.used[:keep]
	}
	a.free, a.next, a.size = nil, 0, 0
}
