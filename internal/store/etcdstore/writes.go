package etcdstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// What one transaction of etcd may write. etcd accepts 1.5 MiB, and its
	// apply loop does nothing else during a transaction.
	maxBytes  = 1<<20 + 256<<10
	maxValue  = maxBytes
	maxWrites = 3000
	maxEvents = 10_000

	// rangeKeys is the number of keys that one write of a range may delete.
	rangeKeys = 5000

	// nested is the number of writes in a nested transaction. etcd limits the
	// operations of a transaction to 128, and those of each nested one to the
	// rest.
	nested = 60

	// maxWants is the number of servers that one commit adds to the round. Together with
	// maxWrites/nested transactions and two more operations, they leave a nested one
	// enough of the limit.
	maxWants = 128 - maxWrites/nested - nested - 2
)

type writeKind byte

const (
	setKey      writeKind = 's'
	deleteKey   writeKind = 'd'
	deleteRange writeKind = 'r'
)

// A write is a key to set or delete, or a range to delete. Ranges contain no key
// that is set.
type write struct {
	kind   writeKind
	key    []byte
	value  []byte // the end of a range, where empty is the end of all keys
	events int
}

func (w *write) size() int { return len(w.key) + len(w.value) + 16 }

// end returns the end of a range.
func (w *write) end() []byte {
	if len(w.value) == 0 {
		return nil
	}
	return w.value
}

// writes are what a change writes to etcd.
type writes struct {
	list   []write
	events int
	bytes  int
}

func (w *writes) add(x write) {
	w.list = append(w.list, x)
	w.events += x.events
	w.bytes += x.size()
}

// large reports whether w is too much for one transaction.
func (w *writes) large() bool {
	return w.bytes > maxBytes || len(w.list) > maxWrites || w.events > maxEvents
}

// collect returns the writes of g that change base.
func collect(g *group.Group, base store.Reader) (*writes, error) {
	w := new(writes)
	var sets [][]byte
	if err := g.Keys(func(key, value []byte, deleted bool) error {
		if !deleted {
			sets = append(sets, key)
			w.add(write{kind: setKey, key: key, value: value, events: 1})
			return nil
		}
		switch _, err := base.Get(key); {
		case err == nil:
			w.add(write{kind: deleteKey, key: key, events: 1})
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return nil
	}); err != nil {
		return nil, err
	}
	err := g.Ranges(func(from, to []byte) error {
		i, _ := slices.BinarySearchFunc(sets, from, bytes.Compare)
		for ; i < len(sets) && (to == nil || bytes.Compare(sets[i], to) < 0); i++ {
			if err := w.addRange(base, from, sets[i]); err != nil {
				return err
			}
			from = append(bytes.Clone(sets[i]), 0)
		}
		return w.addRange(base, from, to)
	})
	return w, err
}

// addRange deletes the keys of base in [from, to).
func (w *writes) addRange(base store.Reader, from, to []byte) error {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil
	}
	n := 0
	err := base.Scan(from, to, func(key, _ []byte) (bool, error) {
		if n == rangeKeys {
			w.add(write{kind: deleteRange, key: from, value: bytes.Clone(key), events: n})
			from, n = bytes.Clone(key), 0
		}
		n++
		return true, nil
	})
	if err == nil && n > 0 {
		w.add(write{kind: deleteRange, key: from, value: to, events: n})
	}
	return err
}

// tables adds the tables that w writes to.
func (w *writes) tables(changed *group.TableSet) {
	for _, x := range w.list {
		if x.kind == deleteRange {
			changed.AddRange(x.key, x.end())
		} else {
			changed.Add(x.key[0])
		}
	}
}

// fill adds w to batch, on top of db.
func (w *writes) fill(batch *pebble.Batch, db pebble.Reader) error {
	for _, x := range w.list {
		var err error
		switch x.kind {
		case setKey:
			err = batch.Set(x.key, x.value, nil)
		case deleteKey:
			err = batch.Delete(x.key, nil)
		default:
			err = engine.DeleteRange(batch, db, x.key, x.end())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// operations returns w as operations of a transaction.
func (s *Store) operations(w *writes) []*pb.RequestOp {
	if w == nil {
		return nil
	}
	ops := make([]*pb.RequestOp, 0, len(w.list))
	for _, x := range w.list {
		switch x.kind {
		case setKey:
			ops = append(ops, put(s.keys.record(x.key), x.value))
		case deleteKey:
			ops = append(ops, remove(s.keys.record(x.key), nil))
		default:
			ops = append(ops, remove(s.keys.records(x.key, x.end())))
		}
	}
	if len(ops) <= nested {
		return ops
	}
	var all []*pb.RequestOp
	for part := range slices.Chunk(ops, nested) {
		all = append(all, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: part}}})
	}
	return all
}

func put(key, value []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}}
}

func remove(from, to []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: from, RangeEnd: to}}}
}

func get(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}
}

// chunks divides w into parts that fit into one transaction each. Ranges contain no
// key that is set, so the order does not matter. Each part writes to one table, and
// small parts come first: they have the records that other changes write, too.
func (w *writes) chunks() []*writes {
	var all []*writes
	part := new(writes)
	for _, x := range w.list {
		if n := len(part.list); n > 0 && (part.bytes+x.size() > 1<<20 || n == maxWrites || part.events+x.events > maxEvents || !sameTable(&part.list[n-1], &x)) {
			all = append(all, part)
			part = new(writes)
		}
		part.add(x)
	}
	all = append(all, part)
	slices.SortStableFunc(all, func(a, b *writes) int { return len(a.list) - len(b.list) })
	return all
}

// sameTable reports whether two writes have the same kind of key.
func sameTable(a, b *write) bool {
	return len(a.key) > 0 && len(b.key) > 0 && a.key[0] == b.key[0]
}

// A span is a range of keys; an end of nil is the end of all keys.
type span struct{ from, to []byte }

// span returns a range that contains everything that w writes.
func (w *writes) span() (s span) {
	for i := range w.list {
		x := w.list[i].span()
		if i == 0 || bytes.Compare(x.from, s.from) < 0 {
			s.from = x.from
		}
		if i == 0 || s.to != nil && (x.to == nil || bytes.Compare(x.to, s.to) > 0) {
			s.to = x.to
		}
	}
	return s
}

func (w *write) span() span {
	if w.kind == deleteRange {
		return span{w.key, w.end()}
	}
	return span{w.key, append(bytes.Clone(w.key), 0)}
}

// touches reports whether w writes to a key in s.
func (w *writes) touches(s span) bool {
	return slices.ContainsFunc(w.list, func(x write) bool {
		t := x.span()
		return (s.to == nil || bytes.Compare(t.from, s.to) < 0) && (t.to == nil || bytes.Compare(s.from, t.to) < 0)
	})
}

func (w *writes) encode() []byte {
	out := make([]byte, 0, w.bytes)
	for _, x := range w.list {
		out = append(out, byte(x.kind))
		out = binary.AppendUvarint(out, uint64(len(x.key)))
		out = append(out, x.key...)
		out = binary.AppendUvarint(out, uint64(len(x.value)))
		out = append(out, x.value...)
	}
	return out
}

var errChunk = &store.CorruptError{What: "a chunk of a large change in etcd", Err: errors.New("unknown format")}

func decodeWrites(b []byte) (*writes, error) {
	field := func() ([]byte, bool) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, false
		}
		f := b[size : size+int(n)]
		b = b[size+int(n):]
		return f, true
	}
	w := new(writes)
	for len(b) > 0 {
		x := write{kind: writeKind(b[0])}
		b = b[1:]
		var ok1, ok2 bool
		x.key, ok1 = field()
		x.value, ok2 = field()
		switch {
		case !ok1 || !ok2, x.kind != setKey && x.kind != deleteKey && x.kind != deleteRange, x.kind != deleteRange && len(x.key) == 0:
			return nil, errChunk
		}
		w.add(x)
	}
	return w, nil
}
