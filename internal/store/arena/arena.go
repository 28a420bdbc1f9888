// Package arena allocates copies of bytes that are freed together.
package arena

const (
	chunkSize = 16 << 10
	retain    = 256 << 10
)

// Arena allocates copies of bytes that are all freed together by Reset. The
// zero value is empty and ready to use.
type Arena struct {
	free []byte   // unused part of the current chunk
	used [][]byte // chunks, for reuse after Reset
	next int      // index in used of the first spare chunk
	size int      // bytes allocated since Reset
}

// Size returns the number of bytes allocated since Reset.
func (a *Arena) Size() int { return a.size }

// Copy returns a copy of b with no spare capacity.
func (a *Arena) Copy(b []byte) []byte {
	a.size += len(b)
	if len(b) > len(a.free) {
		if len(b) > chunkSize/4 {
			return append(make([]byte, 0, len(b)), b...)
		}
		a.grow()
	}
	out := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(out, b)
	return out
}

func (a *Arena) grow() {
	if a.next == len(a.used) {
		a.used = append(a.used, make([]byte, chunkSize))
	}
	a.free = a.used[a.next]
	a.next++
}

// Reset frees all copies. It retains some memory for reuse.
func (a *Arena) Reset() {
	if keep := retain / chunkSize; len(a.used) > keep {
		clear(a.used[keep:])
		a.used = a.used[:keep]
	}
	a.free, a.next, a.size = nil, 0, 0
}
