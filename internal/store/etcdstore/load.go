package etcdstore

import (
	"context"
	"encoding/binary"
	"errors"
	"math/bits"

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
	if c.broken.Load() {
		c.discard()
		return engine.Unavailable(errors.New("the disk with the copy of etcd does not work"))
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
	from, to := s.keys.records(nil, nil)
	for p := (pages{next: from, end: to, prefix: len(from)}); !p.done(); {
		resp, err := s.client.rangeOf(ctx, p.request(h.revision))
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

// pageSize is the number of keys that a page should have.
const pageSize = 2000

// pages divides a range into pages. A limit alone would be slow: for each page,
// etcd counts all keys up to the end of the range. So each page also has an end,
// which is estimated from the density of the keys before it.
type pages struct {
	next, end []byte
	prefix    int    // bytes that all keys share
	width     uint64 // of a page, as a difference of the first 8 bytes after the prefix
}

func (p *pages) done() bool { return p.next == nil }

// stop returns the end of the page.
func (p *pages) stop() []byte {
	var first [8]byte
	copy(first[:], p.next[p.prefix:])
	sum, over := bits.Add64(binary.BigEndian.Uint64(first[:]), max(p.width, 1), 0)
	if over != 0 {
		return p.end
	}
	return binary.BigEndian.AppendUint64(p.next[:p.prefix:p.prefix], sum)
}

func (p *pages) request(revision int64) *pb.RangeRequest {
	return &pb.RangeRequest{Key: p.next, RangeEnd: p.stop(), Limit: pageSize, Revision: revision}
}

func (p *pages) got(resp *pb.RangeResponse) {
	stop := p.stop()
	switch {
	case resp.More:
		p.next = append(resp.Kvs[len(resp.Kvs)-1].Key, 0)
	case string(stop) == string(p.end):
		p.next = nil
	default:
		p.next = stop
	}
	// The next page is at most 16 times as wide, and has the right number of
	// keys if they are as dense as in this one.
	width := max(p.width, 1)
	factor := min(float64(pageSize)/2/float64(max(resp.Count, 1)), 16)
	if wide := float64(width) * factor; wide < 1<<63 {
		p.width = uint64(wide)
	} else {
		p.width = 1 << 63
	}
}
