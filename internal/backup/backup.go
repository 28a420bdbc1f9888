// Package backup is the file format of backups: a header with the wrapped
// keyset, the store's records as they are, sealed, and at the end what proves
// that all of it belongs together.
//
// The meaning of the records, and how they are opened, is not known here.
//
// A backup is
//
//	fluxkeep backup 2\n
//	{"created":"…","keyset":{…}}\n
//	for each record: length of the key plus one, key, length of the value, value
//	0, number of records
//	MAC, 32 bytes, of all bytes before it, with a key from the keyset
//	SHA-256 of all bytes before it
//
// with all lengths and numbers as unsigned varints (encoding/binary). The MAC
// keeps somebody without the keys from making one backup out of two; the
// checksum lets everybody see that a file arrived whole. Format 1 has no MAC.
package backup

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// Format is the version of the format that this package writes.
const Format = 2

const magic = "fluxkeep backup "

var (
	// ErrDamaged says that a file is no whole backup: cut, changed, mixed, or
	// something else.
	ErrDamaged = errors.New("damaged or partial backup")
	// ErrNewerFormat says that a newer Fluxkeep wrote the backup.
	ErrNewerFormat = errors.New("backup of a newer format")
)

// Header is what a backup says of itself.
type Header struct {
	Format  int             `json:"-"` // as read; Writer always writes Format
	Created time.Time       `json:"created"`
	Keyset  json.RawMessage `json:"keyset"` // wrapped, see package seal
}

// Writer writes a backup. Nothing of it is valid before Close.
type Writer struct {
	w     *bufio.Writer
	mac   hash.Hash
	sum   hash.Hash
	count uint64
	err   error
	buf   []byte
}

// NewWriter begins a backup. mac is a keyed hash of 32 bytes.
func NewWriter(w io.Writer, h Header, mac hash.Hash) (*Writer, error) {
	b := &Writer{mac: mac, sum: sha256.New()}
	b.w = bufio.NewWriterSize(io.MultiWriter(w, b.mac, b.sum), 64<<10)
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b.write([]byte(magic + strconv.Itoa(Format) + "\n"))
	b.write(append(head, '\n'))
	return b, b.err
}

func (b *Writer) write(p []byte) {
	if b.err == nil {
		_, b.err = b.w.Write(p)
	}
}

// Add writes a record.
func (b *Writer) Add(key, value []byte) error {
	b.count++
	b.buf = binary.AppendUvarint(b.buf[:0], uint64(len(key))+1)
	b.buf = append(b.buf, key...)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(value)))
	b.write(b.buf)
	b.write(value)
	return b.err
}

// Close writes the end of the backup. It does not close what is below.
func (b *Writer) Close() error {
	b.write(binary.AppendUvarint([]byte{0}, b.count))
	// Each of the two is over all that was flushed before it.
	for _, end := range []hash.Hash{b.mac, b.sum} {
		if b.err == nil {
			b.err = b.w.Flush()
		}
		b.write(end.Sum(nil))
	}
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.err
}

// maxPart bounds a length that is read, so that a damaged file does not make
// the reader ask for all memory.
const maxPart = 64 << 20

// Read reads a backup and calls fn with each record; the bytes are good until
// fn returns. open is given the header first, and returns what NewWriter was
// given, or nil if the backup is only to be checked for being whole. Read returns
// ErrDamaged or ErrNewerFormat, wrapped, and then what fn was given must not be
// used: what proves it comes last.
func Read(r io.Reader, open func(Header) (mac hash.Hash, err error), fn func(key, value []byte) error) error {
	in := &reader{sum: sha256.New(), r: bufio.NewReaderSize(r, 64<<10)}
	h, err := in.header()
	if err != nil {
		return err
	}
	mac, err := open(h)
	if err != nil {
		return err
	}
	if h.Format > 1 {
		in.authenticate(mac)
	}
	var key, value []byte
	for count := uint64(0); ; count++ {
		n := in.uvarint()
		if in.err != nil {
			return damaged(in.err)
		}
		if n == 0 {
			return in.end(count, h.Format, mac != nil)
		}
		key = in.bytes(key, n-1)
		value = in.bytes(value, in.uvarint())
		if in.err != nil {
			return damaged(in.err)
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
}

func damaged(why any) error { return fmt.Errorf("%w: %v", ErrDamaged, why) }

// reader sums up what it reads.
type reader struct {
	r    *bufio.Reader
	sum  hash.Hash
	mac  hash.Hash    // nil until authenticate was called, and if nobody asks
	head bytes.Buffer // what was read before
	err  error
	one  [1]byte
}

// count takes what was read into the sums.
func (in *reader) count(p []byte) {
	in.sum.Write(p)
	if in.mac != nil {
		in.mac.Write(p)
	}
}

// authenticate begins to compute the MAC.
func (in *reader) authenticate(mac hash.Hash) {
	if mac != nil {
		mac.Write(in.head.Bytes())
	}
	in.mac = mac
}

func (in *reader) ReadByte() (byte, error) {
	c, err := in.r.ReadByte()
	in.one[0] = c
	if err == nil {
		in.count(in.one[:])
	}
	return c, err
}

func (in *reader) line(max int) ([]byte, error) {
	var line []byte
	for len(line) < max {
		c, err := in.ReadByte()
		if err != nil {
			return nil, damaged(err)
		}
		in.head.WriteByte(c)
		if c == '\n' {
			return line, nil
		}
		line = append(line, c)
	}
	return nil, damaged("a line without end")
}

func (in *reader) header() (Header, error) {
	first, err := in.line(64)
	if err != nil {
		return Header{}, err
	}
	version, ok := strings.CutPrefix(string(first), magic)
	format, err := strconv.Atoi(version)
	if !ok || err != nil || format < 1 {
		return Header{}, damaged("it does not begin as a backup does")
	}
	if format > Format {
		return Header{}, fmt.Errorf("%w: it has format %d, this Fluxkeep reads up to %d", ErrNewerFormat, format, Format)
	}
	line, err := in.line(1 << 20)
	if err != nil {
		return Header{}, err
	}
	h := Header{Format: format}
	if err := json.Unmarshal(line, &h); err != nil {
		return Header{}, damaged("its header is no JSON object")
	}
	return h, nil
}

func (in *reader) uvarint() uint64 {
	if in.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(in)
	in.err = err
	return n
}

func (in *reader) bytes(into []byte, n uint64) []byte {
	if in.err == nil && n > maxPart {
		in.err = errors.New("a length that can't be")
	}
	if in.err != nil {
		return into
	}
	if uint64(cap(into)) < n {
		into = make([]byte, n)
	}
	into = into[:n]
	if _, in.err = io.ReadFull(in.r, into); in.err == nil {
		in.count(into)
	}
	return into
}

// end reads what comes after the last record of a backup of a format, and
// compares the MAC if it was asked for.
func (in *reader) end(count uint64, format int, authenticated bool) error {
	said := in.uvarint()
	authentic := true
	if format > 1 {
		var want []byte
		if in.mac != nil {
			want = in.mac.Sum(nil)
		}
		got := in.bytes(nil, sha256.Size)
		authentic = !authenticated || hmac.Equal(got, want)
	}
	want := in.sum.Sum(nil)
	got := make([]byte, len(want))
	if in.err == nil {
		_, in.err = io.ReadFull(in.r, got)
	}
	switch _, more := in.r.ReadByte(); {
	case in.err != nil:
		return damaged(in.err)
	case said != count:
		return damaged(fmt.Sprintf("%d records, and it says %d", count, said))
	case !bytes.Equal(got, want):
		return damaged("its checksum is wrong")
	case !authentic:
		return damaged("it is not as a server with these keys wrote it")
	case more != io.EOF:
		return damaged("something follows its end")
	}
	return nil
}
