package secretmap

import (
	"errors"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Change is what a write does to a map. It makes one new version, or none.
type Change struct {
	Set    map[string]string
	Remove []string // a name that is not there is no error
	// Replace makes Set the whole content: names not in it are removed.
	Replace bool

	// CAS, if not nil, must be the number of the current version; 0 stands
	// for none.
	CAS *uint64
	// Tag, if not empty, must be the Tag of the current Document.
	Tag string
	// Merge takes a stale CAS too: what was changed between the version CAS
	// and Set is applied to the current version, unless somebody else has
	// changed one of these names to something else since. Needs Replace.
	Merge bool
	// Guard pins the version before when the write may have lost what it
	// removes: see Options.DropGuard. Needs Replace.
	Guard bool

	// Exists refuses the write when the organization has no visible version.
	Exists bool
	// Always makes a version even when nothing changes.
	Always bool
}

// Result says what a write did.
type Result struct {
	Version VersionInfo // the current version after it; its number alone when nothing changed
	Changed bool        // whether it made a new one
	// Names were added or got another value, Removed are gone, both in byte
	// order.
	Names   []string
	Removed []string
	Pinned  uint64            // the version that the drop guard pinned, 0 for none
	Custom  map[string]string // custom_metadata
	Tag     string            // of the Document that is to be seen after it
	// Conflict says, with an error, that the write could not be merged.
	Conflict bool
}

// Writer changes the map of an organization within one transaction. A method
// that returns an error may have written a part, so the transaction must fail.
type Writer struct {
	Map
	tx      *record.Writer
	author  Author
	visible func(string) bool

	// stateChanged says that the state must be written too.
	stateChanged bool
	// unpinned are versions whose records may be needed no more.
	unpinned []uint64
	tag      string // of what there was to see before
	// hidden says that the current version shows nothing, so that the new one
	// starts from nothing.
	hidden bool
}

func (w *Writer) sees(name string) bool { return w.visible == nil || w.visible(name) }

// Apply makes a change. When there is nothing to change it returns
// ErrUnchanged, with a Result.
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
	err := w.scanVersion(w.head.Map, version, func(e entry, value string) error {
		ch.Set[e.name] = value
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

// checkCAS compares ch.CAS with the current version. When a stale one is to
// be merged it turns ch into what was changed since, and returns the version
// that was read.
func (w *Writer) checkCAS(ch *Change) (merged uint64, conflict bool, err error) {
	switch {
	case ch.Tag != "":
		if ch.Tag != w.tag {
			return 0, false, ErrCASMismatch
		}
		return 0, false, nil
	case ch.CAS == nil && w.state.CASRequired:
		return 0, false, ErrCASRequired
	case ch.CAS == nil || *ch.CAS == w.head.Current:
		return 0, false, nil
	case !ch.Merge || *ch.CAS > w.head.Current:
		return 0, false, ErrCASMismatch
	}
	read := *ch.CAS
	if read == 0 && w.hidden {
		return 0, false, nil // it saw nothing, and nothing is what there is to see
	}
	delta, err := w.since(read, ch.Set)
	if err != nil {
		return 0, true, err
	}
	delta.Guard, delta.Always, delta.Exists = ch.Guard, ch.Always, ch.Exists
	*ch = delta
	return max(read, 1), false, nil
}

// since returns what differs between the version that was read and what is
// written. A name is in conflict when it is now neither what it was then nor
// what it is to become.
func (w *Writer) since(read uint64, set map[string]string) (Change, error) {
	before := map[string]string{}
	if read > 0 {
		if (read < w.head.Floor && !w.state.pinned(read)) || w.state.destroyed(read) {
			return Change{}, ErrCASMismatch
		}
		err := w.scanVersion(w.head.Map, read, func(e entry, value string) error {
			if w.sees(e.name) {
				before[e.name] = value
			}
			return nil
		})
		if err != nil {
			return Change{}, err
		}
	}
	delta := Change{Set: map[string]string{}}
	check := func(name, to string, present bool) error {
		_, now, is, err := w.current(name, w.hash(name))
		was, had := before[name]
		if err == nil && (is != had || now != was) && (is != present || now != to) {
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

// current returns what a name is now; nothing is there when the current
// version is hidden.
func (w *Writer) current(name string, h record.Hash) (entry, string, bool, error) {
	if w.hidden {
		return entry{}, "", false, nil
	}
	m := w.head.Map
	if !w.r.DB().Exclusive() {
		return w.secret(m, name, w.head.Current)
	}
	// With the version at hand, one record is looked up; without it, all that
	// the engine has of the name is looked through.
	at := nameKey{m, h}
	if n, known := w.maps.newest.Get(at); known {
		e, value, ok, err := w.secretAt(m, name, h, n)
		if !errors.Is(err, store.ErrNotFound) {
			return e, value, ok, err
		}
	}
	e, value, ok, err := w.secret(m, name, w.head.Current)
	if err == nil && e.version > 0 {
		w.maps.newest.Put(at, e.version)
	}
	return e, value, ok, err
}

// nameKey is a name of a map, as the hash of it. For such keys, Maps.newest has
// the version of the name's newest record, or a later one that was to be
// written and then was not: so if there is a record of that version it is the
// newest. That holds where one process writes all versions.
type nameKey struct {
	m    ID
	hash record.Hash
}

// diff returns what a change really changes, in byte order of the names.
func (w *Writer) diff(ch Change) (changes []change, err error) {
	for name, value := range ch.Set {
		h := w.hash(name)
		e, now, ok, err := w.current(name, h)
		if err != nil {
			return nil, err
		}
		if ok && now == value {
			continue
		}
		o := opAdd
		if ok {
			o = opChange
		}
		changes = append(changes, change{name, o, e.version, h})
	}
	removed := slices.Clone(ch.Remove) // it is the caller's
	if ch.Replace && !w.hidden {
		if removed, err = w.missing(ch.Set); err != nil {
			return nil, err
		}
	}
	slices.Sort(removed)
	for _, name := range slices.Compact(removed) {
		h := w.hash(name)
		e, _, ok, err := w.current(name, h)
		if err != nil {
			return nil, err
		}
		if ok {
			changes = append(changes, change{name, opRemove, e.version, h})
		}
	}
	slices.SortFunc(changes, compareNames)
	return changes, nil
}

// missing lists the names that are there and visible, and not in set.
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

// maxPinned bounds the versions that the drop guard keeps for somebody to look
// at. Of more, the oldest are let go.
const maxPinned = 50

// guard pins the current version when the write may have lost something by
// accident, and returns its number.
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
		// What writes whole documents by the clock would pin without end.
		w.unpin(w.state.Pinned[0])
	}
	return w.head.Current
}

// unpin lets go of a version. What only it needed goes with the next sweep.
func (w *Writer) unpin(n uint64) {
	w.changeState()
	w.state.Pinned = remove(w.state.Pinned, n)
	w.unpinned = append(w.unpinned, n)
}

// commit writes the new version, and prunes those that are too old.
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
		if err := w.tx.Put(record.SecretKey(m, c.hash, n), encodeSecret(c.Op.kind(), c.Name, valueOf(values, c))); err != nil {
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

func compareNames(a, b change) int { return strings.Compare(a.Name, b.Name) }

func valueOf(values map[string]string, c change) string {
	if c.Op.kind() != kindValue {
		return ""
	}
	return values[c.Name]
}

// mask adds to the changes what the hidden current version would show and the
// new one must not.
func (w *Writer) mask(changes []change) ([]change, error) {
	if w.head.Current == 0 {
		return changes, nil
	}
	fresh := make(map[string]int, len(changes))
	for i, c := range changes {
		fresh[c.Name] = i
	}
	err := w.scanVersion(w.head.Map, w.head.Current, func(e entry, _ string) error {
		if i, ok := fresh[e.name]; ok {
			changes[i].Before = e.version
		} else {
			changes = append(changes, change{e.name, opMask, e.version, w.hash(e.name)})
		}
		return nil
	})
	slices.SortFunc(changes, compareNames)
	return changes, err
}

// changeState makes the state writable. The one that was read may be shared.
func (w *Writer) changeState() {
	if !w.stateChanged {
		w.state, w.stateChanged = w.state.clone(), true
	}
}

func (w *Writer) save() error {
	if !w.stateChanged {
		return w.putHead()
	}
	w.stateChanged = false // it is shared from now on
	w.state.Revision++
	w.head.StateRevision = w.state.Revision
	if err := w.tx.PutJSON(record.Key(record.TableState, w.org), w.state); err != nil {
		return err
	}
	return w.putHead()
}

// putHead writes the head. The state is the one that the head says is the
// newest.
func (w *Writer) putHead() error {
	w.head.Sums = w.head.Sums.Plus(w.tx.MapChanges(w.org, w.head.Map))
	h := *w.head
	old, now := w.stored, &mapState{head: &h, state: w.state}
	w.stored = now
	return w.tx.Replace(record.Key(record.TableHead, w.org), h.appendJSON(make([]byte, 0, 512)), old, now)
}
