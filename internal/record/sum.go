package record

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"slices"
)

// Sum is a set hash: the exclusive or of the elements of a set of records, in
// which each record occurs at most once. Two different sets have the same sum
// with a probability of 2⁻¹²⁸: elements are keyed hashes and sums are stored
// sealed, so that whoever changes the disk without a key sees neither, and
// can't search for a set that fits.
type Sum [16]byte

func (s *Sum) toggle(element Sum) { subtle.XORBytes(s[:], s[:], element[:]) }

// MarshalText writes the sum as hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Sum) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(s) {
		return errors.New("not a sum")
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// element stands for a record in a sum. One that is never rewritten is known by
// its key alone: sealing binds the content to the key, and no such key is used
// twice. One that is rewritten is known by what it says; its sealed bytes don't
// count, since a rotation of keys changes them.
func (db *DB) element(key, plain []byte) Sum {
	if !rewritten(TableOf(key)) {
		plain = nil
	}
	// The table determines the length of the key, so the two can't be confused.
	return db.Keys().Lookup("element", append(key[:len(key):len(key)], plain...))
}

// rewritten reports whether records of a table are rewritten under their keys.
func rewritten(t Table) bool {
	switch t {
	case TableSecret, TableVersion, TableChanges, TableOutbox:
		return false
	}
	return true
}

// grid is a set hash that says where it is wrong. Each record belongs to one
// row and one column; a row has the first half of the exclusive or of its
// elements, a column the second. A record that is missing or was put back
// makes one row and one column wrong, and where they cross there are few
// others.
type grid struct {
	rows, cols []gridSum
}

type gridSum [8]byte

func newGrid(size int) grid { return grid{make([]gridSum, size), make([]gridSum, size)} }

// cell is a place in a grid.
type cell struct{ row, col int }

// cell returns the place of the record at key. It need not be secret.
func (g grid) cell(key []byte) cell {
	h := crc32.ChecksumIEEE(key)
	return cell{int(h&0xffff) % len(g.rows), int(h>>16) % len(g.cols)}
}

func (g grid) toggle(key []byte, element Sum) {
	at := g.cell(key)
	subtle.XORBytes(g.rows[at.row][:], g.rows[at.row][:], element[:8])
	subtle.XORBytes(g.cols[at.col][:], g.cols[at.col][:], element[8:])
}

// sum returns the sum of two grids of one size.
func (g grid) sum(other grid) grid {
	s := newGrid(len(g.rows))
	for i := range s.rows {
		subtle.XORBytes(s.rows[i][:], g.rows[i][:], other.rows[i][:])
		subtle.XORBytes(s.cols[i][:], g.cols[i][:], other.cols[i][:])
	}
	return s
}

func (g grid) append(b []byte) []byte {
	for i := range g.rows {
		b = append(append(b, g.rows[i][:]...), g.cols[i][:]...)
	}
	return b
}

// read fills the grid with what append made of one of the same size.
func (g grid) read(b []byte) error {
	if len(b) != len(g.rows)*2*len(gridSum{}) {
		return errors.New("not a grid of sums")
	}
	for i := range g.rows {
		b = b[copy(g.rows[i][:], b):]
		b = b[copy(g.cols[i][:], b):]
	}
	return nil
}

// differs reports whether two grids of one size differ where the record at key
// belongs.
func (g grid) differs(other grid, key []byte) bool {
	at := g.cell(key)
	return g.rows[at.row] != other.rows[at.row] && g.cols[at.col] != other.cols[at.col]
}

func (g grid) equal(other grid) bool {
	return slices.Equal(g.rows, other.rows) && slices.Equal(g.cols, other.cols)
}
