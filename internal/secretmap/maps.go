package secretmap

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// ID names an organization, a map, a user or a token.
type ID = record.ID

// MaxNames is how many names a map can have.
const MaxNames = 1_000_000

// Protocol is the way by which a change came.
type Protocol string

// Author is who makes a version, as its history says.
type Author struct {
	User     ID
	Token    ID
	Protocol Protocol
}

var (
	// ErrUnchanged says that there is nothing to write: the transaction can
	// end.
	ErrUnchanged = errors.New("nothing to change")
	// ErrVersionNotFound says that a version never was, or is no longer kept.
	ErrVersionNotFound = &errcode.Error{Code: errcode.NotFound, Message: "version not found"}
	// ErrCASMismatch and ErrCASRequired refuse a write because of its
	// check-and-set parameter.
	ErrCASMismatch = &errcode.Error{Code: errcode.Invalid, Message: "check-and-set parameter did not match the current version"}
	ErrCASRequired = &errcode.Error{Code: errcode.Invalid, Message: "check-and-set parameter required for this call"}
	// ErrMetadataCASMismatch, ErrMetadataCASNew and ErrMetadataCASRequired
	// refuse a change of settings because of its check-and-set parameter.
	ErrMetadataCASMismatch = &errcode.Error{Code: errcode.Invalid, Message: "metadata check-and-set parameter does not match the current version"}
	ErrMetadataCASNew      = &errcode.Error{Code: errcode.Invalid, Message: "metadata_cas must be 0 when creating new metadata"}
	ErrMetadataCASRequired = &errcode.Error{Code: errcode.Invalid, Message: "metadata check-and-set parameter required for this call"}
)

// Options say how maps are kept.
type Options struct {
	// DropGuard is the number of names that a write with Guard may remove
	// without pinning the version before; 0 means one name, or half of all
	// when that is more.
	DropGuard int
	// CacheBytes limits the memory for snapshots; default 64 MiB.
	CacheBytes int64
	// Reserve, if not nil, is asked for the memory that a document takes
	// before it is read. Its error ends the read.
	Reserve func(ctx context.Context, bytes int64) error
}

// Maps are the versioned maps of a store, one for each organization, with
// their caches. The methods may be called by several goroutines at once.
type Maps struct {
	dropGuard int
	reserve   func(context.Context, int64) error

	heads     *gencache.Cache[ID, seenHead]
	snapshots snapshotCache
	newest    *gencache.Cache[nameKey, uint64]
	versions  *gencache.Cache[mapVersion, *versionRecord] // that were written here
	memory    *seal.Memory                                // seals what is remembered of values
}

// New returns the maps of a store. All transactions on the store must use the
// same Maps.
func New(o Options) (*Maps, error) {
	memory, err := seal.NewMemory()
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
		versions:  gencache.New[mapVersion, *versionRecord](2_000),
		memory:    memory,
	}, nil
}

// ClearCaches makes everything be read from the store again.
func (m *Maps) ClearCaches() {
	m.heads.Clear()
	m.snapshots.clear()
	m.newest.Clear()
	m.versions.Clear()
}

// view reads maps within one transaction.
type view struct {
	r    *record.Reader
	maps *Maps
	// key is a buffer for keys that are not kept.
	key []byte
}

// Read returns the map of an organization, which is empty if nothing was ever
// written.
func (m *Maps) Read(r *record.Reader, org ID) (*Map, error) {
	v := view{r: r, maps: m}
	s, err := v.head(org)
	if err != nil {
		return nil, err
	}
	return &Map{view: v, org: org, stored: s, head: s.head, state: s.state}, nil
}

// Write returns a writer for the map of an organization. With visible, names
// for which it is false are left alone: they count neither as removed by a
// change that replaces everything nor as a conflict.
func (m *Maps) Write(tx *record.Writer, org ID, a Author, visible func(name string) bool) (*Writer, error) {
	read, err := m.Read(&tx.Reader, org)
	if err != nil {
		return nil, err
	}
	w := &Writer{Map: *read, tx: tx, author: a, visible: visible}
	head := *read.head
	w.head, w.tag = &head, read.Tag()
	if w.head.Map == 0 {
		*w.head = headRecord{Map: acl.NewID(), Oldest: 1, Floor: 1, Swept: 1, Created: w.r.Now}
	}
	w.hidden = w.Empty()
	return w, nil
}

// Organizations calls fn with each organization that has versions or settings,
// in the order of their IDs.
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
