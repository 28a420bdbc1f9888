// Package backup defines the file format of backups: a header with the wrapped
// keyset, the store's sealed records, and a trailer that proves that they
// belong together.
//
// It does not know what the records mean or how to open them.
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
// prevents anyone without the keys from combining two backups into one; the
// checksum lets anyone verify that a file is complete. Format 1 has no MAC.
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

// Format is the format version that this package writes.
const Format = 2

const magic = "fluxkeep backup "

var (
	// ErrDamaged means that a file is not a complete backup: it is truncated,
	// changed, combined from several, or something else.
	ErrDamaged = errors.New("damaged or partial backup")
	// ErrNewerFormat means that a newer Fluxkeep wrote the backup.
	ErrNewerFormat = errors.New("backup of a newer format")
)

// Header describes a backup.
type Header struct {
	Format  int             `json:"-"` // as read; Writer always writes Format
	Created time.Time       `json:"created"`
	Keyset  json.RawMessage `json:"keyset"` // wrapped, see package seal
}

// Writer writes a backup. The backup is valid only after Close.
type Writer struct {
	w     *bufio.Writer
	mac   hash.Hash
	sum   hash.Hash
	count uint64
	err   error
	buf   []byte
}

// NewWriter starts a backup. mac is a keyed hash of 32 bytes.
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

// Close writes the trailer. It does not close the underlying writer.
func (b *Writer) Close() error {
	b.write(binary.AppendUvarint([]byte{0}, b.count))
	// Each of the two covers all bytes flushed before it.
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

// maxPart limits the lengths that are read, so that a damaged file cannot
// exhaust the memory.
const maxPart = 64 << 20

// Read reads a backup and calls fn with each record; the slices are valid
// until fn returns. It first calls open with the header. open returns the same
// keyed hash that NewWriter was given, or nil to check only that the backup is
// complete. If Read returns an error, discard what fn received: the proof
// comes last. The error of an invalid backup wraps ErrDamaged or
// ErrNewerFormat.
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

// reader hashes what it reads.
type reader struct {
	r    *bufio.Reader
	sum  hash.Hash
	mac  hash.Hash    // nil until authenticate is called
	head bytes.Buffer // what was read before that
	err  error
	one  [1]byte
}

// count adds p to the hashes.
func (in *reader) count(p []byte) {
	in.sum.Write(p)
	if in.mac != nil {
		in.mac.Write(p)
	}
}

// authenticate starts computing the MAC.
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
	return nil, damaged("a line is too long")
}

func (in *reader) header() (Header, error) {
	first, err := in.line(64)
	if err != nil {
		return Header{}, err
	}
	version, ok := strings.CutPrefix(string(first), magic)
	format, err := strconv.Atoi(version)
	if !ok || err != nil || format < 1 {
		return Header{}, damaged("it does not start like a backup")
	}
	if format > Format {
		return Header{}, fmt.Errorf("%w: format %d; this Fluxkeep reads formats up to %d", ErrNewerFormat, format, Format)
	}
	line, err := in.line(1 << 20)
	if err != nil {
		return Header{}, err
	}
	h := Header{Format: format}
	if err := json.Unmarshal(line, &h); err != nil {
		return Header{}, damaged("its header is not a JSON object")
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
		in.err = errors.New("impossible length")
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

// end reads the trailer of the given format, and compares the MAC if
// authenticated is set.
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
		return damaged(fmt.Sprintf("it has %d records instead of %d", count, said))
	case !bytes.Equal(got, want):
		return damaged("its checksum is wrong")
	case !authentic:
		return damaged("no server with these keys wrote it")
	case more != io.EOF:
		return damaged("there is data after its end")
	}
	return nil
}
