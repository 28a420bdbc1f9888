package audit

import (
	"bytes"
	"fmt"
	"strconv"
)

// Checkpoint pins the log up to one line: no line up to that one can be changed,
// removed or added without giving it another hash. The zero Checkpoint stands
// before the first line.
type Checkpoint struct {
	Seq  uint64 // the line's number
	Hash Hash   // the line's hash
}

// String returns the checkpoint as NUMBER:HASH.
func (c Checkpoint) String() string { return strconv.FormatUint(c.Seq, 10) + ":" + c.Hash.String() }

// MarshalText returns what String returns.
func (c Checkpoint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Checkpoint) UnmarshalText(text []byte) error {
	var read Checkpoint
	number, hash, _ := bytes.Cut(text, []byte{':'})
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || !decodeHex(read.Hash[:], hash) {
		return fmt.Errorf("audit: a checkpoint is NUMBER:HASH, not %q", text)
	}
	read.Seq = seq
	*c = read
	return nil
}
