package record

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash/crc32"
)

// Sum is a set hash: the XOR of the elements of a set of records, in which each
// record occurs at most once. Elements are keyed hashes, and sums are stored
// sealed. An attacker who changes the disk without a key sees neither, so he
// can't search for a different set with the same sum, and a guess succeeds with
// a probability of 2⁻¹²⁸.
type Sum [16]byte

func (s *Sum) toggle(element Sum) { subtle.XORBytes(s[:], s[:], element[:]) }

// MarshalText encodes the sum as hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText decodes what MarshalText returns.
func (s *Sum) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(s) {
		return errors.New("not a sum")
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// element returns the element that stands for a record in sums. A record that is
// never rewritten is identified by its key: sealing binds the content to the key,
// and no key is used for two records. A record that is rewritten is identified by
// its content too: the plaintext, since a key rotation changes the sealed bytes.
func (r *Reader) element(key, plain []byte) Sum {
	if !rewritten(TableOf(key)) {
		return r.db.Keys().Lookup("element", key)
	}
	// The table determines where the key ends.
	return r.db.Keys().Lookup("element", key, plain)
}

// rewritten reports whether a table's records are rewritten under their keys.
func rewritten(t Table) bool {
	switch t {
	case TableSecret, TableVersion, TableChanges, TableOutbox, TableTaken:
		return false
	}
	return true
}

// grid is a set hash that shows where two sets differ. Each record belongs to one
// row and one column. A row holds the first half of the XOR of its elements, a
// column the second half. A missing record, or one that was replaced, makes one
// row and one column wrong, and few other records belong to both.
//
// In memory and in its record, row i is followed by column i.
type grid []byte

const gridHalf = len(Sum{}) / 2

func newGrid(size int) grid { return make(grid, size*len(Sum{})) }

// gridPlace says to which row and column of a grid a record belongs.
type gridPlace uint32

// placeInGrid returns the place of the record at key. It need not be secret.
func placeInGrid(key []byte) gridPlace { return gridPlace(crc32.ChecksumIEEE(key)) }

func (g grid) at(p gridPlace) (row, col []byte) {
	size := len(g) / len(Sum{})
	row = g[int(p&0xffff)%size*len(Sum{}):][:gridHalf]
	col = g[int(p>>16)%size*len(Sum{})+gridHalf:][:gridHalf]
	return row, col
}

func (g grid) toggle(p gridPlace, element Sum) {
	row, col := g.at(p)
	subtle.XORBytes(row, row, element[:gridHalf])
	subtle.XORBytes(col, col, element[gridHalf:])
}

// differs reports whether two grids of the same size differ where the record at
// key belongs.
func (g grid) differs(other grid, key []byte) bool {
	p := placeInGrid(key)
	row, col := g.at(p)
	otherRow, otherCol := other.at(p)
	return !bytes.Equal(row, otherRow) && !bytes.Equal(col, otherCol)
}

func (g grid) equal(other grid) bool { return bytes.Equal(g, other) }
