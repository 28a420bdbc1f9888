package audit

import (
	"bytes"
	"fmt"
	"strconv"
)

// Checkpoint pins the log up to one line: changing, removing or adding a line
// up to that one changes its hash. The zero Checkpoint is before the first
// line.
type Checkpoint struct {
	Seq  uint64 // the line's number
	Hash Hash   // the line's hash
}

// String formats the checkpoint as NUMBER:HASH.
func (c Checkpoint) String() string { return strconv.FormatUint(c.Seq, 10) + ":" + c.Hash.String() }

// MarshalText returns the same text as String.
func (c Checkpoint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses the text from MarshalText.
func (c *Checkpoint) UnmarshalText(text []byte) error {
	var read Checkpoint
	number, hash, _ := bytes.Cut(text, []byte{':'})
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || !decodeHex(read.Hash[:], hash) {
		return fmt.Errorf("audit: a checkpoint has the form NUMBER:HASH, not %q", text)
	}
	read.Seq = seq
	*c = read
	return nil
}
