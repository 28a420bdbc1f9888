package pebblestore

import (
	"bytes"
	"slices"
)

// An overlay holds the changes of one commit group that are not in the engine
// yet: the last state of each changed key, in key order, and the ranges of
// keys of the engine that are deleted. The functions of a group run one after
// the other, and each sees what those before it wrote. What a function did
// since mark can be taken back with rollback.
//
// Keys are in a skip list; values and keys are copied to an arena. All memory
// is used again for the next group.
type overlay struct {
	head  node
	tower int // highest level in use
	rand  uint64
	nodes nodeSlab
	bytes arena

	// hidden are the deleted ranges, sorted and apart from each other. A set
	// key inside one has a node.
	hidden []span

	dirty    int // nodes with a state, plus hidden ranges
	undo     []undoNode
	epoch    uint64 // counts marks; a node of this epoch has its undo entry
	spans    []span // copy of hidden at the mark
	spansSet bool   // spans is valid
}

// span is the keys from from to to, which is not included; to nil is the end.
type span struct{ from, to []byte }

type nodeState uint8

const (
	absent  nodeState = iota // the group says nothing about the key itself
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

// mark starts a function: rollback returns to here.
func (o *overlay) mark() {
	o.epoch++
	clear(o.undo)
	o.undo = o.undo[:0]
	o.spansSet = false
}

// rollback takes back everything since the last mark.
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

// empty reports whether the group changes nothing.
func (o *overlay) empty() bool { return o.dirty == 0 }

// written reports whether anything was written since the last mark.
func (o *overlay) written() bool { return len(o.undo) > 0 || o.spansSet }

// size is about the number of bytes that the group writes.
func (o *overlay) size() int { return o.bytes.size }

func (o *overlay) set(key, value []byte) {
	o.put(key, set, o.bytes.copy(value))
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

// deleteRange hides the engine's keys from from to to and deletes those of
// the group.
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
	o.hide(span{o.bytes.copy(from), o.copyEnd(to)})
	o.dirty += len(o.hidden) - was
}

func (o *overlay) copyEnd(to []byte) []byte {
	if to == nil {
		return nil
	}
	return o.bytes.copy(to)
}

// hide adds s to the hidden ranges, joined with those that it touches.
func (o *overlay) hide(s span) {
	// i: first range that ends at or after s.from; j: first that begins
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

// hides returns the hidden range that key is in, or nil.
func (o *overlay) hides(key []byte) *span {
	if len(o.hidden) == 0 {
		return nil
	}
	// First range that begins after key; the one before it may hold key.
	i, _ := slices.BinarySearchFunc(o.hidden, key, func(h span, key []byte) int {
		if bytes.Compare(h.from, key) <= 0 {
			return -1
		}
		return 1
	})
	if i == 0 || !before(key, o.hidden[i-1].to) {
		return nil
	}
	return &o.hidden[i-1]
}

// get returns the state of key in the group, and its value when it is set.
// deleted is also said of a key that is only hidden.
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

// seek returns the first node at or after key.
func (o *overlay) seek(key []byte) *node {
	n := &o.head
	for l := o.tower - 1; l >= 0; l-- {
		for x := n.next[l]; x != nil && bytes.Compare(x.key, key) < 0; x = n.next[l] {
			n = x
		}
	}
	return n.next[0]
}

// insert returns the node of key, which it makes when there is none.
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
	x.key = o.bytes.copy(key)
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

// height draws the height of a new node's tower: each level has a quarter of
// the nodes of the one below.
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
	o.bytes.reset()
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

// nodeSlab hands out nodes that all live until reset.
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
