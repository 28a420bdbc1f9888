package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// maxLoads limits the attempts of one load.
const maxLoads = 10

// load makes a new copy of everything in etcd and publishes it.
func (s *Store) load(ctx context.Context) error {
	for range maxLoads {
		err := s.loadOnce(ctx)
		if !errors.Is(err, errCompacted) {
			return err
		}
		// The revision was compacted during the load, or is not the newest.
	}
	return engine.Unavailable(errors.New("etcd is compacted faster than the copy can be loaded"))
}

func (s *Store) loadOnce(ctx context.Context) error {
	known := s.newest.Load()
	h, err := s.readHead(ctx)
	if err != nil {
		return err
	}
	if h.commit == nil {
		return ErrRestored
	}
	revs := group.FirstRevisions()
	if known != nil {
		if err := s.compare(known.head, h.commit); err != nil {
			return err
		}
		revs = known.revs.Next(&group.EveryTable)
	}
	c, err := newCopy(s.opts, s.giveUp)
	if err != nil {
		return err
	}
	if err := s.fill(ctx, c, h); err != nil {
		c.discard()
		return err
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	if cause := c.failure.Load(); cause != nil {
		c.discard()
		return engine.Unavailable(fmt.Errorf("the new copy of etcd has failed: %v", *cause))
	}
	if s.newest.Load() != known {
		// A commit of this server was under way.
		c.discard()
		return errCompacted
	}
	s.wants = h.wants
	s.publish(newState(c, h.commit, h.raw, h.revision, revs))
	s.tellChanged(nil, true)
	return nil
}

// fill reads the records at the revision of h, so that c has one state.
func (s *Store) fill(ctx context.Context, c *localCopy, h *head) error {
	batch := c.db.NewBatch()
	defer batch.Close()
	// A page may be so wide that it takes etcd a while to count its keys.
	patient := &client{timing: s.client.timing, members: s.client.members}
	patient.preferred.Store(s.client.preferred.Load())
	patient.timing.attempt *= 10
	patient.timing.patience *= 10
	for p := newPages(s.keys.records(nil, nil)); !p.done(); {
		var resp *pb.RangeResponse
		err := patient.call(ctx, func(ctx context.Context, m *member) (err error) {
			if resp, err = m.kv.Range(ctx, p.request(h.revision)); err != nil {
				p.shrink()
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if err := batch.Set(kv.Key[p.prefix:], kv.Value, nil); err != nil {
				return err
			}
		}
		if err := c.db.Apply(batch, pebble.NoSync); err != nil {
			return err
		}
		batch.Reset()
		p.got(resp)
	}
	if l := h.commit.Large; l.moving() {
		if err := s.eachChunk(ctx, l, h.revision, func(w *writes) error { return w.fill(batch, c.db) }); err != nil {
			return err
		}
	}
	return c.write(batch, s.keys.prefix, h.revision, h.raw)
}

// pageSize is the number of keys that a page has at most.
const pageSize = 2000

// pages divides a range into pages. A limit alone would be slow: for each page,
// etcd counts all keys up to the end of the range. So each page also has an end,
// which is estimated from the density of the keys before it. The limit is lower
// where records are so large that a page would be larger than a reply may be.
type pages struct {
	next, end []byte
	prefix    int     // bytes that all keys share
	width     big.Int // of a page, as a difference of positions
	limit     int64   // keys of the next page
}

// newPages returns the pages of all keys in [from, to) that begin with from.
func newPages(from, to []byte) *pages {
	return &pages{next: from, end: to, prefix: len(from), limit: pageSize}
}

// positionBytes is the number of bytes after the prefix that give a key's position.
// The records of one map may share the first nine.
const positionBytes = 24

// position returns a number that grows with the key.
func (p *pages) position(key []byte) *big.Int {
	var first [positionBytes]byte
	copy(first[:], key[p.prefix:])
	return new(big.Int).SetBytes(first[:])
}

func (p *pages) done() bool { return p.next == nil }

// stop returns the end of the page.
func (p *pages) stop() []byte {
	sum := p.position(p.next)
	sum.Add(sum, &p.width).Add(sum, big.NewInt(1))
	if sum.BitLen() > 8*positionBytes {
		return p.end
	}
	return append(p.next[:p.prefix:p.prefix], sum.FillBytes(make([]byte, positionBytes))...)
}

func (p *pages) request(revision int64) *pb.RangeRequest {
	return &pb.RangeRequest{Key: p.next, RangeEnd: p.stop(), Limit: p.limit, Revision: revision}
}

// shrink lowers the limit after a page that etcd could not answer with.
func (p *pages) shrink() { p.limit = max(p.limit/16, 1) }

func (p *pages) got(resp *pb.RangeResponse) {
	size := 0
	for _, kv := range resp.Kvs {
		size += len(kv.Key) + len(kv.Value)
	}
	if size < maxReply/4 {
		p.limit = min(2*p.limit, pageSize)
	}
	from := p.position(p.next)
	if resp.More {
		// The page was too wide: half of what the keys fill is right.
		last := resp.Kvs[len(resp.Kvs)-1].Key
		p.width.Sub(p.position(last), from).Rsh(&p.width, 1)
		p.next = append(last, 0)
		return
	}
	p.next = p.stop()
	if string(p.next) == string(p.end) {
		p.next = nil
		return
	}
	// Make the next page wider until it is about half full.
	p.width.Sub(p.position(p.next), from)
	if n := resp.Count; n < pageSize/32 {
		p.width.Lsh(&p.width, 4)
	} else if n < pageSize/3 {
		p.width.Lsh(&p.width, 1)
	}
}
