package group

import (
	"bytes"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/store/arena"
)

// An overlay holds the writes of one group: the last state of each changed key,
// in order, and the deleted ranges of the base. rollback undoes the writes since
// mark.
//
// The keys are in a skip list. Keys and values are copied to an arena. All
// memory is reused for the next group.
type overlay struct {
	head  node
	tower int // highest level in use
	rand  uint64
	nodes nodeSlab
	bytes arena.Arena

	// hidden are the deleted ranges, sorted and disjoint. A key that is set
	// inside one has a node.
	hidden []span

	dirty    int // nodes with a state, plus hidden ranges
	undo     []undoNode
	epoch    uint64 // number of marks; a node of this epoch has an undo entry
	spans    []span // copy of hidden at the mark
	spansSet bool   // spans is valid
}

// span is the keys in [from, to), where a nil to is the end of all keys.
type span struct{ from, to []byte }

type nodeState uint8

const (
	absent  nodeState = iota // the group did not write the key itself
	set                      // the key has this value
	deleted                  // the key has no value
)

const maxTower = 12

type node struct {
	key, value []byte
	state      nodeState
	epoch      uint64
	next       [maxTower]*node
}

type undoNode struct {
	node  *node
	value []byte
	state nodeState
}

// mark begins the writes that rollback undoes.
func (o *overlay) mark() {
	o.epoch++
	clear(o.undo)
	o.undo = o.undo[:0]
	o.spansSet = false
}

// rollback undoes the writes since the last mark.
func (o *overlay) rollback() {
	for i := len(o.undo) - 1; i >= 0; i-- {
		u := &o.undo[i]
		o.count(u.node.state, u.state)
		u.node.state, u.node.value = u.state, u.value
	}
	if o.spansSet {
		o.dirty += len(o.spans) - len(o.hidden)
		o.hidden = append(o.hidden[:0], o.spans...)
	}
	o.mark()
}

// empty reports whether there are no writes.
func (o *overlay) empty() bool { return o.dirty == 0 }

// written reports whether there are writes since the last mark.
func (o *overlay) written() bool { return len(o.undo) > 0 || o.spansSet }

// size returns the approximate number of bytes written.
func (o *overlay) size() int { return o.bytes.Size() }

func (o *overlay) set(key, value []byte) {
	o.put(key, set, o.bytes.Copy(value))
}

func (o *overlay) delete(key []byte) {
	o.put(key, deleted, nil)
}

func (o *overlay) put(key []byte, state nodeState, value []byte) {
	n := o.insert(key)
	if n.epoch != o.epoch {
		n.epoch = o.epoch
		o.undo = append(o.undo, undoNode{node: n, value: n.value, state: n.state})
	}
	o.count(n.state, state)
	n.state, n.value = state, value
}

func (o *overlay) count(from, to nodeState) {
	if from == absent && to != absent {
		o.dirty++
	} else if from != absent && to == absent {
		o.dirty--
	}
}

// deleteRange hides the keys of the base in [from, to) and deletes those of the
// group.
func (o *overlay) deleteRange(from, to []byte) {
	for n := o.seek(from); n != nil && before(n.key, to); n = n.next[0] {
		if n.state == set {
			o.put(n.key, deleted, nil)
		}
	}
	if !o.spansSet {
		o.spans = append(o.spans[:0], o.hidden...)
		o.spansSet = true
	}
	was := len(o.hidden)
	o.hide(span{o.bytes.Copy(from), o.copyEnd(to)})
	o.dirty += len(o.hidden) - was
}

func (o *overlay) copyEnd(to []byte) []byte {
	if to == nil {
		return nil
	}
	return o.bytes.Copy(to)
}

// hide adds s to the hidden ranges and merges it with those that it touches.
func (o *overlay) hide(s span) {
	// i: the first range that ends at or after s.from; j: the first that begins
	// after s.to.
	i, _ := slices.BinarySearchFunc(o.hidden, s.from, func(h span, key []byte) int {
		if h.to == nil {
			return 1
		}
		return bytes.Compare(h.to, key)
	})
	j := i
	for j < len(o.hidden) && (s.to == nil || bytes.Compare(o.hidden[j].from, s.to) <= 0) {
		j++
	}
	if i < j {
		if bytes.Compare(o.hidden[i].from, s.from) < 0 {
			s.from = o.hidden[i].from
		}
		if last := o.hidden[j-1].to; s.to != nil && (last == nil || bytes.Compare(last, s.to) > 0) {
			s.to = last
		}
	}
	o.hidden = slices.Replace(o.hidden, i, j, s)
}

// hides returns the hidden range that contains key, or nil.
func (o *overlay) hides(key []byte) *span {
	i := o.hiddenAfter(key)
	if i == 0 || !before(key, o.hidden[i-1].to) {
		return nil
	}
	return &o.hidden[i-1]
}

// nextHidden returns the first hidden range that begins after key, or nil.
func (o *overlay) nextHidden(key []byte) *span {
	if i := o.hiddenAfter(key); i < len(o.hidden) {
		return &o.hidden[i]
	}
	return nil
}

// hiddenAfter returns the index of the first hidden range that begins after
// key.
func (o *overlay) hiddenAfter(key []byte) int {
	if len(o.hidden) == 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(o.hidden, key, func(h span, key []byte) int {
		if bytes.Compare(h.from, key) <= 0 {
			return -1
		}
		return 1
	})
	return i
}

// get returns the state of key, and its value if it is set. A key that is only
// hidden is deleted, too.
func (o *overlay) get(key []byte) (nodeState, []byte) {
	if o.dirty == 0 {
		return absent, nil
	}
	if n := o.seek(key); n != nil && n.state != absent && bytes.Equal(n.key, key) {
		return n.state, n.value
	}
	if o.hides(key) != nil {
		return deleted, nil
	}
	return absent, nil
}

// seek returns the first node at or after key, or nil.
func (o *overlay) seek(key []byte) *node {
	n := &o.head
	for l := o.tower - 1; l >= 0; l-- {
		for x := n.next[l]; x != nil && bytes.Compare(x.key, key) < 0; x = n.next[l] {
			n = x
		}
	}
	return n.next[0]
}

// insert returns the node of key, and creates it if there is none.
func (o *overlay) insert(key []byte) *node {
	var prev [maxTower]*node
	n := &o.head
	for l := o.tower - 1; l >= 0; l-- {
		for x := n.next[l]; x != nil && bytes.Compare(x.key, key) < 0; x = n.next[l] {
			n = x
		}
		prev[l] = n
	}
	if x := n.next[0]; x != nil && bytes.Equal(x.key, key) {
		return x
	}
	x := o.nodes.get()
	x.key = o.bytes.Copy(key)
	h := o.height()
	for ; o.tower < h; o.tower++ {
		prev[o.tower] = &o.head
	}
	for l := range h {
		x.next[l] = prev[l].next[l]
		prev[l].next[l] = x
	}
	return x
}

// height returns a random height for a new node's tower: each level has a
// quarter of the nodes of the level below.
func (o *overlay) height() int {
	if o.rand == 0 {
		o.rand = 0x9e3779b97f4a7c15
	}
	o.rand ^= o.rand << 13
	o.rand ^= o.rand >> 7
	o.rand ^= o.rand << 17
	h := 1
	for r := o.rand; h < maxTower && r&3 == 0; r >>= 2 {
		h++
	}
	return h
}

// reset empties the overlay for the next group.
func (o *overlay) reset() {
	o.head, o.tower, o.dirty = node{}, 0, 0
	o.nodes.reset()
	o.bytes.Reset()
	clear(o.hidden)
	o.hidden = o.hidden[:0]
	clear(o.spans)
	o.spans = o.spans[:0]
	if cap(o.undo) > 1<<12 {
		o.undo = nil
	}
	o.mark()
}

// before reports whether key is before end, where nil is the end of all keys.
func before(key, end []byte) bool {
	return end == nil || bytes.Compare(key, end) < 0
}

const (
	slabSize   = 64
	slabRetain = 32
)

// nodeSlab allocates nodes that are all freed together by reset.
type nodeSlab struct {
	slabs []*[slabSize]node
	n     int
}

func (s *nodeSlab) get() *node {
	if s.n == len(s.slabs)*slabSize {
		s.slabs = append(s.slabs, new([slabSize]node))
	}
	n := &s.slabs[s.n/slabSize][s.n%slabSize]
	s.n++
	return n
}

func (s *nodeSlab) reset() {
	if len(s.slabs) > slabRetain {
		clear(s.slabs[slabRetain:])
		s.slabs = s.slabs[:slabRetain]
	}
	for i := range min(s.n, len(s.slabs)*slabSize) {
		s.slabs[i/slabSize][i%slabSize] = node{}
	}
	s.n = 0
}
