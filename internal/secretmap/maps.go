package secretmap

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// ID names an organization, a map, a user or a token.
type ID = record.ID

// Protocol is the protocol through which a change was made.
type Protocol string

// Author is who makes a version, as recorded in its history.
type Author struct {
	User     ID
	Token    ID
	Protocol Protocol
	// ByID means that the author addressed the map by the organization's ID
	// although names can be used.
	ByID bool
}

// Options configure maps.
type Options struct {
	// DropGuard is the number of names that a write with Guard may remove
	// without pinning the previous version; 0 means one name, or half of all
	// if that is more.
	DropGuard int
	// CacheBytes limits the memory for snapshots; default 64 MiB.
	CacheBytes int64
	// Reserve, if not nil, is called to reserve memory for a document before
	// it is read. If it returns an error, the read fails.
	Reserve func(ctx context.Context, bytes int64) error
}

// Maps are the versioned maps of a store, one per organization, with their
// caches. It is safe for concurrent use.
type Maps struct {
	dropGuard int
	reserve   func(context.Context, int64) error

	heads     *gencache.Cache[ID, seenHead]
	snapshots snapshotCache
	newest    *gencache.Cache[nameKey, uint64]
	oldest    *gencache.Cache[nameKey, uint64]            // see Writer.secretVersions
	versions  *gencache.Cache[mapVersion, *versionRecord] // that were written here
	memory    *seal.EphemeralKey                          // seals what is remembered of values
}

// New returns the maps of a store. All transactions on the store must use the
// same Maps.
func New(o Options) (*Maps, error) {
	memory, err := seal.NewEphemeralKey()
	if err != nil {
		return nil, err
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	return &Maps{
		dropGuard: o.DropGuard,
		reserve:   o.Reserve,
		heads:     gencache.New[ID, seenHead](10_000),
		snapshots: snapshotCache{limit: o.CacheBytes},
		newest:    gencache.New[nameKey, uint64](50_000),
		oldest:    gencache.New[nameKey, uint64](50_000),
		versions:  gencache.New[mapVersion, *versionRecord](2_000),
		memory:    memory,
	}, nil
}

// ClearCaches empties all caches.
func (m *Maps) ClearCaches() {
	m.heads.Clear()
	m.snapshots.clear()
	m.newest.Clear()
	m.oldest.Clear()
	m.versions.Clear()
}

// view reads maps within one transaction.
type view struct {
	r    *record.Reader
	maps *Maps
	// key is a buffer for keys that are used only once.
	key []byte
}

// Read returns the map of an organization, which is empty if nothing was ever
// written.
func (m *Maps) Read(r *record.Reader, org ID) (Map, error) {
	v := view{r: r, maps: m}
	s, err := v.head(org)
	if err != nil {
		return Map{}, err
	}
	return Map{view: v, org: org, stored: s, head: s.head, state: s.state}, nil
}

// Write reads the map of an organization and returns a writer for it; see
// Map.Write.
func (m *Maps) Write(tx *record.Writer, org ID, a Author, visible func(name string) bool) (*Writer, error) {
	read, err := m.Read(&tx.Reader, org)
	if err != nil {
		return nil, err
	}
	return read.Write(tx, a, visible), nil
}

// Write returns a writer for the map, which must have been read in tx. If visible
// is not nil, names for which it returns false are left alone: a write that
// replaces everything doesn't remove them, and they don't conflict.
func (m *Map) Write(tx *record.Writer, a Author, visible func(name string) bool) *Writer {
	w := &Writer{Map: *m, tx: tx, author: a, visible: visible}
	head := *m.head
	w.head, w.tag = &head, m.Tag()
	if w.head.Map == 0 {
		*w.head = headRecord{Map: acl.NewID(), Oldest: 1, Floor: 1, Swept: 1, Created: w.r.Now, ByID: a.ByID}
	}
	w.hidden = w.Empty()
	return w
}

// Organizations calls fn for each organization that has versions or settings,
// in order of their IDs.
func (m *Maps) Organizations(r *record.Reader, fn func(org ID) error) error {
	return r.ScanIDs(record.TableHead, fn)
}

// Delete removes all versions and settings of an organization's map.
func (m *Maps) Delete(tx *record.Writer, org ID) error {
	read, err := m.Read(&tx.Reader, org)
	if err != nil || !read.Exists() {
		return err
	}
	return tx.DeleteMap(org, read.head.Map)
}
