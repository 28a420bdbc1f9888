package secretmap

import (
	"errors"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Change is a write to a map. It creates at most one new version.
type Change struct {
	Set    map[string]string
	Remove []string // missing names are ignored
	// Replace makes Set the entire content: all other names are removed.
	Replace bool

	// CAS, if not nil, must be the number of the current version, or 0 for
	// none.
	CAS *uint64
	// Tag, if not empty, must be the Tag of the current Document.
	Tag string
	// Merge accepts a stale CAS: the differences between version CAS and Set
	// are applied to the current version, unless one of those names has been
	// changed to something else since. A version that was hidden since is stale,
	// too. Needs Replace.
	Merge bool
	// Guard pins the previous version if the write may remove names by
	// accident: see Options.DropGuard. Needs Replace.
	Guard bool

	// Exists refuses the write if the organization has no visible version.
	Exists bool
	// Always creates a version even if nothing changes.
	Always bool
}

// Result is the outcome of a write.
type Result struct {
	Version VersionInfo // the current version after it; only its number if nothing changed
	Changed bool        // whether it is new
	// Names were added or changed, Removed were removed; both in byte order.
	Names   []string
	Removed []string
	Pinned  uint64            // the version that the drop guard pinned, or 0
	Custom  map[string]string // custom_metadata
	Tag     string            // of the Document after the write
	// Conflict says, along with an error, that the write could not be merged.
	Conflict bool
}

// Writer changes the map of an organization within one transaction. A method
// that returns an error may have written something, so the transaction must
// fail.
type Writer struct {
	Map
	tx      *record.Writer
	author  Author
	visible func(string) bool

	// stateChanged means that the state must be written too.
	stateChanged bool
	// unpinned are versions whose records may no longer be needed.
	unpinned []uint64
	tag      string // of what was visible before
	// hidden means that the current version shows nothing, so the new one
	// starts empty.
	hidden bool
}

func (w *Writer) sees(name string) bool { return w.visible == nil || w.visible(name) }

// Apply makes a change. If there is nothing to change it returns ErrUnchanged,
// with a Result.
func (w *Writer) Apply(ch Change) (Result, error) {
	if ch.Exists && w.head.none() {
		return Result{}, ErrVersionNotFound
	}
	merged, conflict, err := w.checkCAS(&ch)
	if err != nil {
		return Result{Conflict: conflict}, err
	}
	if ch.Exists && w.hidden {
		return Result{}, ErrVersionNotFound
	}
	changes, err := w.diff(ch)
	if err != nil {
		return Result{}, err
	}
	if len(changes) == 0 && !ch.Always {
		return Result{Version: VersionInfo{Number: w.head.Current}, Custom: w.state.Custom, Tag: w.Tag()}, ErrUnchanged
	}
	pinned := w.guard(ch, changes)
	out, err := w.commit(changes, ch.Set, versionRecord{Merged: merged})
	out.Pinned = pinned
	return out, err
}

// Rollback makes a new version with the content of an earlier one.
func (w *Writer) Rollback(version uint64) (Result, error) {
	if !w.Kept(version) || w.state.destroyed(version) {
		return Result{}, ErrVersionNotFound
	}
	ch := Change{Set: map[string]string{}, Replace: true}
	err := w.scanVersion(w.head.Map, version, func(s secretRecord) error {
		ch.Set[s.name] = s.value
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	changes, err := w.diff(ch)
	if err != nil {
		return Result{}, err
	}
	return w.commit(changes, ch.Set, versionRecord{From: version})
}

// checkCAS compares ch.CAS with the current version. To merge a stale one, it
// reduces ch to the differences from the version read, and returns that
// version.
func (w *Writer) checkCAS(ch *Change) (merged uint64, conflict bool, err error) {
	switch {
	case ch.Tag != "":
		if ch.Tag != w.tag {
			return 0, false, ErrCASMismatch
		}
		return 0, false, nil
	case ch.CAS == nil && w.state.CASRequired:
		return 0, false, ErrCASRequired
	case ch.CAS == nil || *ch.CAS == w.head.Current && !(ch.Merge && w.hidden):
		// Whoever merges and has read a version that is hidden now would bring back what
		// was deleted since.
		return 0, false, nil
	case !ch.Merge || *ch.CAS > w.head.Current:
		return 0, false, ErrCASMismatch
	}
	read := *ch.CAS
	if read == 0 && w.hidden {
		return 0, false, nil // it saw nothing, and nothing is visible
	}
	delta, err := w.since(read, ch.Set)
	if err != nil {
		return 0, true, err
	}
	delta.Guard, delta.Always, delta.Exists = ch.Guard, ch.Always, ch.Exists
	*ch = delta
	return max(read, 1), false, nil
}

// since returns the differences between version read and set. A name conflicts
// if its current value is neither the old nor the new one.
func (w *Writer) since(read uint64, set map[string]string) (Change, error) {
	before := map[string]string{}
	if read > 0 {
		if (read < w.head.Floor && !w.state.pinned(read)) || w.state.destroyed(read) {
			return Change{}, ErrCASMismatch
		}
		err := w.scanVersion(w.head.Map, read, func(s secretRecord) error {
			if w.sees(s.name) {
				before[s.name] = s.value
			}
			return nil
		})
		if err != nil {
			return Change{}, err
		}
	}
	delta := Change{Set: map[string]string{}}
	check := func(name, to string, present bool) error {
		now, err := w.current(name, w.hash(name))
		was, had := before[name]
		if err == nil && (now.shown() != had || now.value != was) && (now.shown() != present || now.value != to) {
			err = ErrCASMismatch
		}
		return err
	}
	for name, value := range set {
		if was, had := before[name]; had && was == value {
			continue
		}
		if err := check(name, value, true); err != nil {
			return Change{}, err
		}
		delta.Set[name] = value
	}
	for name := range before {
		if _, stays := set[name]; stays {
			continue
		}
		if err := check(name, "", false); err != nil {
			return Change{}, err
		}
		delta.Remove = append(delta.Remove, name)
	}
	return delta, nil
}

func (w *Writer) hash(name string) record.Hash { return w.r.DB().SecretHash(w.head.Map, name) }

// current returns a name's newest record; there is none if the current version is
// hidden.
func (w *Writer) current(name string, h record.Hash) (secretRecord, error) {
	if w.hidden {
		return secretRecord{}, nil
	}
	m := w.head.Map
	if !w.r.DB().Exclusive() {
		return w.secret(m, name, w.head.Current)
	}
	// With a cached version, look up one record; otherwise search the name's
	// records.
	at := nameKey{m, h}
	if n, known := w.maps.newest.Get(at); known {
		s, err := w.secretAt(m, name, h, n)
		if !errors.Is(err, store.ErrNotFound) {
			return s, err
		}
	}
	s, err := w.secret(m, name, w.head.Current)
	if err == nil && s.version > 0 {
		w.maps.newest.Put(at, s.version)
	}
	return s, err
}

// nameKey is a name in a map, given by its hash. Maps.newest caches, for such
// a key, the version of the name's newest record, or a later one whose write
// failed. So if a record with that version exists, it is the newest. This
// holds only if one process writes all versions.
type nameKey struct {
	m    ID
	hash record.Hash
}

// diff returns the actual changes of ch, in byte order of the names.
func (w *Writer) diff(ch Change) (changes []change, err error) {
	for name, value := range ch.Set {
		h := w.hash(name)
		now, err := w.current(name, h)
		switch {
		case err != nil:
			return nil, err
		case !now.shown():
			changes = append(changes, change{Name: name, Op: opAdd, Earlier: now.following(), hash: h})
		case now.value != value:
			changes = append(changes, superseding(opChange, &now, h))
		}
	}
	removed := slices.Clone(ch.Remove) // it belongs to the caller
	if ch.Replace && !w.hidden {
		if removed, err = w.missing(ch.Set); err != nil {
			return nil, err
		}
	}
	slices.Sort(removed)
	for _, name := range slices.Compact(removed) {
		h := w.hash(name)
		now, err := w.current(name, h)
		if err != nil {
			return nil, err
		}
		if now.shown() {
			changes = append(changes, superseding(opRemove, &now, h))
		}
	}
	slices.SortFunc(changes, compareNames)
	return changes, nil
}

// missing lists the visible names that are not in set.
func (w *Writer) missing(set map[string]string) ([]string, error) {
	var out []string
	s, err := w.snapshot(w.head.Current)
	if err != nil {
		return nil, err
	}
	for _, name := range s.names {
		if _, ok := set[name]; !ok && w.sees(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// maxPinned limits the versions that the drop guard pins for review. Beyond
// it, the oldest are unpinned.
const maxPinned = 50

// guard pins the current version if the write may remove names by accident,
// and returns its number.
func (w *Writer) guard(ch Change, changes []change) uint64 {
	if !ch.Guard || w.hidden {
		return 0
	}
	removed, lost := 0, false
	for _, c := range changes {
		if c.Op == opRemove {
			removed++
		}
		lost = lost || c.Op != opAdd
	}
	limit := w.maps.dropGuard
	if limit == 0 {
		limit = max(1, w.head.Count/2)
	}
	if removed <= limit && !(ch.CAS == nil && ch.Replace && lost) {
		return 0
	}
	w.changeState()
	w.state.Pinned = insert(w.state.Pinned, w.head.Current)
	if len(w.state.Pinned) > maxPinned {
		// Scheduled writes of whole documents would pin without end.
		w.unpin(w.state.Pinned[0])
	}
	return w.head.Current
}

// unpin unpins a version. The next sweep removes records that only it needed.
func (w *Writer) unpin(n uint64) {
	w.changeState()
	w.state.Pinned = remove(w.state.Pinned, n)
	w.unpinned = append(w.unpinned, n)
}

// commit writes the new version and prunes old ones.
func (w *Writer) commit(changes []change, values map[string]string, r versionRecord) (Result, error) {
	out := Result{Changed: true}
	m, n := w.head.Map, w.head.Current+1
	count := w.head.Count
	if w.hidden {
		count = 0
		var err error
		if changes, err = w.mask(changes); err != nil {
			return Result{}, err
		}
	}
	for _, c := range changes {
		switch c.Op {
		case opAdd:
			count++
			out.Names = append(out.Names, c.Name)
		case opChange:
			out.Names = append(out.Names, c.Name)
		case opRemove:
			count--
			out.Removed = append(out.Removed, c.Name)
		}
		o := newOrigin(w.r.Now, w.author, c.Earlier)
		if err := w.tx.Put(record.SecretKey(m, c.hash, n), encodeSecret(c.Op.kind(), o, c.Name, valueOf(values, c))); err != nil {
			return Result{}, err
		}
		w.maps.newest.Put(nameKey{m, c.hash}, n)
	}
	if count > MaxNames {
		return Result{}, errcode.Errorf(errcode.Invalid, "an organization can have at most %d secrets", MaxNames)
	}
	r.Time, r.User, r.Token, r.Protocol, r.Count = w.r.Now, w.author.User, w.author.Token, w.author.Protocol, count
	if err := w.putVersion(m, n, r, changes); err != nil {
		return Result{}, err
	}
	if len(changes) > changesPerChunk {
		w.head.Large = n
	}
	before := w.head.Updated
	w.head.Current, w.head.Count, w.head.Updated = n, count, w.r.Now
	if after := w.state.DeleteVersionAfter; after > 0 {
		w.changeState()
		w.state.Deleted[n] = w.r.Now.Add(after)
	}
	if err := w.prune(len(changes), before); err != nil {
		return Result{}, err
	}
	if err := w.sweepUnpinned(); err != nil {
		return Result{}, err
	}
	out.Version, out.Custom, out.Tag = w.info(n, &r), w.state.Custom, w.Tag()
	return out, w.save()
}

// superseding is a change of the name of a record, which has the hash h.
func superseding(o op, s *secretRecord, h record.Hash) change {
	return change{s.name, o, s.version, s.following(), h}
}

func compareNames(a, b change) int { return strings.Compare(a.Name, b.Name) }

func valueOf(values map[string]string, c change) string {
	if c.Op.kind() != kindValue {
		return ""
	}
	return values[c.Name]
}

// mask adds tombstones for what the hidden current version would show through
// in the new one.
func (w *Writer) mask(changes []change) ([]change, error) {
	if w.head.Current == 0 {
		return changes, nil
	}
	fresh := make(map[string]int, len(changes))
	for i, c := range changes {
		fresh[c.Name] = i
	}
	err := w.scanVersion(w.head.Map, w.head.Current, func(s secretRecord) error {
		if i, ok := fresh[s.name]; ok {
			changes[i] = superseding(opAdd, &s, changes[i].hash)
		} else {
			changes = append(changes, superseding(opMask, &s, w.hash(s.name)))
		}
		return nil
	})
	slices.SortFunc(changes, compareNames)
	return changes, err
}

// changeState makes the state writable: the one read may be shared.
func (w *Writer) changeState() {
	if !w.stateChanged {
		w.state, w.stateChanged = w.state.clone(), true
	}
}

func (w *Writer) save() error {
	if !w.stateChanged {
		return w.putHead()
	}
	w.stateChanged = false // from now on it is shared
	w.state.Revision++
	w.head.StateRevision = w.state.Revision
	if err := w.tx.PutJSON(record.Key(record.TableState, w.org), w.state); err != nil {
		return err
	}
	return w.putHead()
}

// putHead writes the head. The given state must be the newest.
func (w *Writer) putHead() error {
	w.head.Sums = w.head.Sums.Plus(w.tx.MapChanges(w.org, w.head.Map))
	h := *w.head
	old, now := w.stored, &mapState{head: &h, state: w.state}
	w.stored = now
	return w.tx.Replace(record.Key(record.TableHead, w.org), h.appendJSON(make([]byte, 0, 512)), old, now)
}
