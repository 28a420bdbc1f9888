package influxbolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// bbolt trusts its file: it follows every page number and every offset, so a
// damaged page can lead to an endless loop, to bytes of another page or of the
// process's memory, or to a fault that kills the process. So this file checks
// everything that bbolt relies on before bbolt reads it.
//
// The format is that of bbolt's internal/common, version 2: integers in native
// byte order, offsets relative to the element that contains them.
const (
	pageHeader  = 16 // ID, flags, number of elements, number of overflow pages
	elementSize = 16 // of leaves and branches
	bucketSize  = 16 // root page, sequence

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf element: its value is a bucket

	noFreelist = ^uint64(0) // in a file without a freelist

	minPageSize = 1024
	// Each branch has at least two keys, so no real file has a tree this high.
	maxDepth = 64
)

// meta is the content of one of the file's first two pages. Each transaction
// overwrites the older one.
type meta struct {
	root     uint64 // the root page of the list of buckets
	freelist uint64
	count    uint64 // pages in use, bolt's high-water mark
	change   uint64 // the transaction ID
}

// readMetas returns the meta pages that are valid.
func readMetas(file io.ReaderAt, pageSize int) []meta {
	const sum = 56 // the offset of the checksum of everything before it
	var out []meta
	for n := range 2 {
		b := make([]byte, sum+8)
		if _, err := file.ReadAt(b, int64(n*pageSize)+pageHeader); err != nil {
			continue
		}
		h := fnv.New64a()
		h.Write(b[:sum])
		number := func(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
		if h.Sum64() == number(sum) {
			out = append(out, meta{root: number(16), freelist: number(32), count: number(40), change: number(48)})
		}
	}
	return out
}

// errTwice means that two references lead to a page, or that it is also free.
// There is no way to know which reference is right.
var errTwice = fmt.Errorf("%w: it is used twice", ErrDamaged)

// pages checks trees of pages.
type pages struct {
	file     io.ReaderAt
	pageSize int64
	count    uint64
	// seen are the pages that must not be reached (again): free pages and
	// those already checked.
	seen        map[uint64]bool
	freeUnknown bool
}

// element is an element of a page: a key with a value or with a child page.
type element struct {
	key, value []byte
	bucket     bool
	child      uint64
}

func newPages(file io.ReaderAt, size int64, m meta, pageSize int) (*pages, error) {
	p := &pages{file: file, pageSize: int64(pageSize), count: m.count, seen: make(map[uint64]bool), freeUnknown: m.freelist == noFreelist}
	switch {
	case p.pageSize < minPageSize || p.pageSize&(p.pageSize-1) != 0:
		return nil, fmt.Errorf("%w: impossible page size of %d bytes", ErrDamaged, pageSize)
	case m.count > uint64(size/p.pageSize):
		return nil, fmt.Errorf("%w: it should have %d pages but has %d", ErrDamaged, m.count, size/p.pageSize)
	case p.freeUnknown:
		return p, nil
	}
	return p, p.readFreelist(m.freelist)
}

// readFreelist reads which pages are free. Free pages hold old data, and so
// look valid.
func (p *pages) readFreelist(id uint64) error {
	page, err := p.read(id, freelistPage)
	if err != nil {
		return fmt.Errorf("freelist: %w", err)
	}
	list := page[pageHeader:]
	n := uint64(binary.NativeEndian.Uint16(page[10:]))
	if n == 0xffff { // the count does not fit into the header
		n, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if n > uint64(len(list)/8) {
		return fmt.Errorf("%w: its freelist is truncated", ErrDamaged)
	}
	for i := range n {
		p.seen[binary.NativeEndian.Uint64(list[8*i:])] = true
	}
	return nil
}

// check checks all trees. It returns an error if one of the named buckets
// cannot be read. Otherwise, it describes what is wrong with the file and the
// other buckets, and returns which of the others cannot be read.
func (p *pages) check(root uint64, names []string) (odd []string, unread map[string]bool, err error) {
	var needed, others []element
	err = p.tree(root, nil, nil, 0, 0, func(e element) error {
		switch {
		case !e.bucket:
			return fmt.Errorf("%w: a bucket is missing where one should be", ErrDamaged)
		case slices.Contains(names, string(e.key)):
			needed = append(needed, e)
		default:
			others = append(others, e)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, e := range needed {
		if err := p.bucket(e.value); err != nil {
			return nil, nil, fmt.Errorf("bucket %s: %w", e.key, err)
		}
	}
	unread = make(map[string]bool)
	for _, e := range others {
		err := p.bucket(e.value)
		if errors.Is(err, errTwice) {
			return nil, nil, err // the wrong page may be that of a named bucket
		}
		if err != nil {
			unread[string(e.key)] = true
			odd = append(odd, fmt.Sprintf("bucket %s: skipped: %v", quote(string(e.key)), err))
		}
	}
	if lost := p.lost(); len(odd) == 0 && lost > 0 {
		odd = append(odd, fmt.Sprintf("%s cannot be reached: records may be missing", count(lost, "page")))
	}
	return odd, unread, nil
}

// lost returns the number of pages that are neither free nor in a tree. A
// damaged page number can lead to a subtree of the right tree, which looks
// valid by itself.
func (p *pages) lost() int {
	if p.freeUnknown {
		return 0
	}
	n := 0
	for id := uint64(2); id < p.count; id++ {
		if !p.seen[id] {
			n++
		}
	}
	return n
}

// bucket checks a bucket: the tree at its root page or, if it is small, the
// inline page in its value. InfluxDB does not nest buckets.
func (p *pages) bucket(value []byte) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%w: it is too short", ErrDamaged)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		// A small bucket is stored in the value, without a page.
		return p.tree(root, nil, nil, 0, 1, noBucket)
	}
	page := value[bucketSize:]
	if len(page) < pageHeader || flags(page) != leafPage {
		return fmt.Errorf("%w: it has no inline page", ErrDamaged)
	}
	list, end, err := elements(page)
	if err == nil && end != len(page) {
		err = fmt.Errorf("%w: its inline page has a wrong length", ErrDamaged)
	}
	if err != nil {
		return err
	}
	return leaves(list, nil, nil, noBucket)
}

func noBucket(e element) error {
	if e.bucket {
		return fmt.Errorf("%w: it contains another bucket", ErrDamaged)
	}
	return nil
}

// tree checks a page and those below it: each page is reached only once and
// has at least least elements, or one, within its bounds; the keys are in
// order, and from low up to but not including high, where nil means no bound.
// It calls leaf with each element of the leaves.
func (p *pages) tree(id uint64, low, high []byte, depth, least int, leaf func(element) error) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: page %d is too deep in the tree", ErrDamaged, id)
	}
	page, err := p.read(id, leafPage, branchPage)
	if err != nil {
		return err
	}
	isLeaf := flags(page) == leafPage
	list, _, err := elements(page)
	switch {
	case err != nil:
	case len(list) < least || (!isLeaf && len(list) == 0):
		err = fmt.Errorf("%w: it is empty", ErrDamaged)
	case isLeaf:
		err = leaves(list, low, high, leaf)
	default:
		err = ordered(list, low, high)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if isLeaf {
		return nil
	}
	for i, e := range list {
		end := high
		if i+1 < len(list) {
			end = list[i+1].key
		}
		if err := p.tree(e.child, e.key, end, depth+1, 1, leaf); err != nil {
			return err
		}
	}
	return nil
}

func leaves(list []element, low, high []byte, leaf func(element) error) error {
	if err := ordered(list, low, high); err != nil {
		return err
	}
	for _, e := range list {
		if err := leaf(e); err != nil {
			return err
		}
	}
	return nil
}

func ordered(list []element, low, high []byte) error {
	for i, e := range list {
		switch {
		case i > 0 && bytes.Compare(e.key, list[i-1].key) <= 0,
			i == 0 && low != nil && bytes.Compare(e.key, low) < 0,
			high != nil && bytes.Compare(e.key, high) >= 0:
			return fmt.Errorf("%w: its keys are out of order", ErrDamaged)
		}
	}
	return nil
}

// read returns a page of one of the given kinds, with its overflow pages.
func (p *pages) read(id uint64, kinds ...uint16) ([]byte, error) {
	// The first two pages belong to no tree.
	if id < 2 || id >= p.count {
		return nil, fmt.Errorf("%w: it refers to page %d of %d", ErrDamaged, id, p.count)
	}
	header := make([]byte, pageHeader)
	at := int64(id) * p.pageSize
	if _, err := p.file.ReadAt(header, at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	more := uint64(binary.NativeEndian.Uint32(header[12:]))
	switch {
	case binary.NativeEndian.Uint64(header) != id:
		return nil, fmt.Errorf("%w: page %d has the number of another page", ErrDamaged, id)
	case !slices.Contains(kinds, flags(header)):
		return nil, fmt.Errorf("%w: page %d has a wrong type", ErrDamaged, id)
	case more >= p.count-id:
		return nil, fmt.Errorf("%w: page %d extends beyond the end", ErrDamaged, id)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("page %d: %w", i, errTwice)
		}
		p.seen[i] = true
	}
	page := make([]byte, (int64(more)+1)*p.pageSize)
	if _, err := p.file.ReadAt(page, at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return page, nil
}

func flags(page []byte) uint16 { return binary.NativeEndian.Uint16(page[8:]) }

// elements returns the elements of a leaf or a branch, and where their data
// ends. bbolt writes the keys and values without gaps after the elements, so
// data that does not start where the previous data ends means that a length is
// damaged.
func elements(page []byte) (list []element, end int, err error) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*elementSize > len(page) {
		return nil, 0, fmt.Errorf("%w: it cannot have %d elements", ErrDamaged, count)
	}
	list = make([]element, count)
	next := int64(pageHeader + count*elementSize)
	for i := range list {
		// Offsets are relative to the element.
		place := pageHeader + i*elementSize
		rest := page[place:]
		number := func(n int) int64 { return int64(binary.NativeEndian.Uint32(rest[4*n:])) }
		var e element
		var at, keyLen, valueLen int64
		if flags(page) == branchPage {
			at, keyLen = number(0), number(1)
			e.child = binary.NativeEndian.Uint64(rest[8:])
		} else {
			if number(0)&^bucketFlag != 0 {
				return nil, 0, fmt.Errorf("%w: an element has an unknown type", ErrDamaged)
			}
			e.bucket = number(0) == bucketFlag
			at, keyLen, valueLen = number(1), number(2), number(3)
		}
		if keyLen == 0 || int64(place)+at != next || at+keyLen+valueLen > int64(len(rest)) {
			return nil, 0, fmt.Errorf("%w: an element has a wrong offset", ErrDamaged)
		}
		next += keyLen + valueLen
		e.key, e.value = rest[at:at+keyLen], rest[at+keyLen:at+keyLen+valueLen]
		list[i] = e
	}
	return list, int(next), nil
}
