package integrity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Pebble's log and manifest are records, cut into chunks that never cross a
// block of 32 KiB. A chunk is a header and a payload:
//
//	checksum  4 bytes, masked CRC-32C of all from the type on
//	length    2 bytes, of the payload
//	type      1 byte: 4 positions (full, first, middle, last) in 3 formats
//	log       4 bytes, number of the log   (formats 1 and 2)
//	synced    8 bytes, offset synced so far (format 2)
//
// The manifest is in format 0. A log that was closed ends in a trailer: an
// empty chunk of format 1 whose log number is one too high and whose checksum
// is 0.
//
// Pebble itself takes the first chunk that is not sound for the end of the
// file, unless a later block proves otherwise. That lets damage cut off
// changes that were acknowledged, so the store looks for itself.
const (
	blockSize   = 32 << 10
	trailerType = 5
)

var headerSize = [3]int{7, 11, 19}

// position of a chunk in its record.
const (
	full = iota
	first
	middle
	last
)

// scanResult says how much of a file of records is valid.
type scanResult struct {
	end    int64 // end of the last complete record
	closed bool  // a trailer follows it
	// resumes is the offset of a record that begins after the valid part, or
	// -1. A record is written only once the one before it is synced, so such a
	// record proves that the file is damaged.
	resumes int64
}

// scanRecords reads the records of a log, or of a manifest if log is 0.
func scanRecords(f io.ReaderAt, log uint64) (scanResult, error) {
	res := scanResult{resumes: -1}
	block := make([]byte, blockSize)
	inRecord := false
	for base := int64(0); ; base += blockSize {
		n, err := readBlock(f, block, base)
		if err != nil {
			return res, err
		}
		for at := 0; ; {
			rest := block[at:n]
			if at == blockSize || n == blockSize && len(rest) < headerSize[2] && zero(rest) {
				break // continue with the next block
			}
			size, pos := chunk(rest, log)
			if size == 0 || inRecord != (pos == middle || pos == last) {
				if !inRecord && log != 0 && isTrailer(rest, log) {
					res.closed = true
					return res, nil
				}
				if log != 0 {
					res.resumes, err = findRecord(f, log, base, at)
				}
				return res, err
			}
			at += size
			inRecord = pos == first || pos == middle
			if !inRecord {
				res.end = base + int64(at)
			}
		}
	}
}

// findRecord returns the offset of the first valid chunk that begins a record
// of log, searching from offset at in the block at base, or -1.
func findRecord(f io.ReaderAt, log uint64, base int64, at int) (int64, error) {
	block := make([]byte, blockSize)
	number := binary.LittleEndian.AppendUint32(nil, uint32(log))
	const numberAt = 7
	for ; ; base, at = base+blockSize, 0 {
		n, err := readBlock(f, block, base)
		if n == 0 || err != nil {
			return -1, err
		}
		for at < n {
			i := bytes.Index(block[min(at+numberAt, n):n], number)
			if i < 0 {
				break
			}
			at += i
			if size, pos := chunk(block[at:n], log); size > 0 && (pos == full || pos == first) {
				return base + int64(at), nil
			}
			at++
		}
	}
}

// chunk returns the size and position of the chunk at the start of b. The size
// is 0 unless it is a valid chunk of log (of a manifest if log is 0).
func chunk(b []byte, log uint64) (size, position int) {
	if len(b) < headerSize[0] {
		return 0, 0
	}
	kind := int(b[6]) - 1
	if kind < 0 || kind >= 12 {
		return 0, 0
	}
	format, position := kind/4, kind%4
	header := headerSize[format]
	if (format == 0) != (log == 0) || len(b) < header {
		return 0, 0
	}
	size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, 0
	}
	if log != 0 && binary.LittleEndian.Uint32(b[7:]) != uint32(log) {
		return 0, 0
	}
	if maskedCRC(b[6:size]) != binary.LittleEndian.Uint32(b) {
		return 0, 0
	}
	return size, position
}

func isTrailer(b []byte, log uint64) bool {
	return len(b) >= headerSize[1] && zero(b[:6]) && b[6] == trailerType &&
		binary.LittleEndian.Uint32(b[7:]) == uint32(log)+1
}

// maskedCRC is the checksum of a chunk: a CRC-32C, rotated and offset, so that
// data containing its own checksum is not a special case.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// readBlock reads the block at off and returns its length, 0 at the end of the
// file.
func readBlock(f io.ReaderAt, block []byte, off int64) (int, error) {
	n, err := f.ReadAt(block, off)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
