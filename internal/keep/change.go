package keep

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Change is what a write does to an organization's secrets. It makes one new
// version, or none.
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
	// removes: see Config.DropGuard. Needs Replace.
	Guard bool

	// Adopt makes an organization that is not known, if the caller may write
	// the secrets of all organizations.
	Adopt bool
	// Exists refuses the write when the organization has no visible version.
	Exists bool
	// Always makes a version even when nothing changes.
	Always bool
}

// Written says what a write did.
type Written struct {
	Version VersionInfo       // the current version after it
	Changed bool              // whether it made a new one
	Pinned  uint64            // the version that the drop guard pinned, 0 for none
	Custom  map[string]string // custom_metadata
	Tag     string            // of the Document that is to be seen after it
}

// Stats counts what is worth a metric.
type Stats struct {
	DropGuards     atomic.Int64
	Merges         atomic.Int64
	MergeConflicts atomic.Int64
	Adopted        atomic.Int64
}

// Stats returns the counters. They may be read at any time.
func (k *Keep) Stats() *Stats { return &k.stats }

// allowSecrets checks access to an organization's secrets. On InfluxDB's
// protocol the organization itself must be readable too, as in InfluxDB, and
// to one who may not read it, it does not exist. On Vault's, a refusal comes
// before the question whether there is such an organization.
func (v *view) allowSecrets(c *Caller, a acl.Action, org ID) error {
	denied := c.maySecrets(a, org)
	if c.Origin.Protocol == InfluxDB {
		if c.mayOrg(acl.Read, org) != nil {
			return ErrOrganizationNotFound
		}
	} else if denied != nil {
		return denied
	}
	if err := v.orgExists(org); err != nil {
		return err
	}
	return denied
}

// orgExists returns ErrOrganizationNotFound when there is none.
func (v *view) orgExists(org ID) error {
	if v.k.callers.exists(org, v.epoch) {
		return nil
	}
	_, err := v.org(org)
	if err == nil && v.k.records.Exclusive() {
		v.k.callers.found(org, v.epoch)
	}
	return err
}

// validate refuses bad names and values, and, before anything is compared
// with what is there, names that the caller's token is not for.
//
// An imported name that is not valid for a new secret may stay in a whole
// document, so that it doesn't keep others from being written: checkWritten
// refuses to write it anew. Only readers know it.
func (ch Change) validate(c *Caller, org ID) error {
	check := newName
	if ch.Replace && c.maySecrets(acl.Read, org) == nil {
		check = validName
	}
	for _, name := range ch.Remove {
		if !c.sees(name) {
			return errorf(CodeForbidden, "the token is not for secret %q", name)
		}
		if err := validName("secret name", name); err != nil {
			return err
		}
	}
	for name, value := range ch.Set {
		if !c.sees(name) {
			return errorf(CodeForbidden, "the token is not for secret %q", name)
		}
		if err := check("secret name", name); err != nil {
			return err
		}
		if err := validValue(value); err != nil {
			return err
		}
	}
	return nil
}

// checkWritten refuses names that were added or got another value.
func checkWritten(names []string) error {
	for _, name := range names {
		if err := newName("secret name", name); err != nil {
			return err
		}
	}
	return nil
}

// Change writes secrets. Needs write on the organization's secrets.
func (k *Keep) Change(ctx context.Context, c Caller, org ID, ch Change) (Written, error) {
	var out Written
	adopted := false
	rec := c.record("secrets.write", org)
	rec.Names, rec.Removed = slices.Sorted(maps.Keys(ch.Set)), ch.Remove
	err := k.update(ctx, rec, func(t *tx) error {
		out, adopted = Written{}, false
		err := t.allowSecrets(&c, acl.Write, org)
		if errors.Is(err, ErrOrganizationNotFound) && ch.Adopt && c.may(acl.Write, acl.Resource{Type: acl.Secrets}) == nil && !c.Limited() {
			err = t.adopt(org)
			adopted = true
		}
		if err != nil {
			return err
		}
		if err := ch.validate(&c, org); err != nil {
			return err
		}
		w := &writer{tx: t, c: &c, org: org, rec: rec}
		if out, err = w.write(ch); err == nil {
			err = checkWritten(rec.Names)
		}
		if w.state != nil {
			out.Custom, out.Tag = w.state.Custom, tag(&w.head, w.state, t.Now)
		}
		return err
	})
	if err != nil {
		return Written{}, err
	}
	if adopted {
		k.stats.Adopted.Add(1)
		k.logger.Info("an organization was adopted", "organization", org)
	}
	k.changed(org, out)
	return out, nil
}

// changed tells those who wait and the operator.
func (k *Keep) changed(org ID, w Written) {
	if w.Changed {
		k.watchers.notify(org)
	}
	if w.Version.Merged != 0 {
		k.stats.Merges.Add(1)
	}
	if w.Pinned != 0 {
		k.stats.DropGuards.Add(1)
		k.logger.Warn("a write may have dropped secrets, the version before it is pinned",
			"organization", org, "version", w.Version.Number, "pinned", w.Pinned)
	}
}

func (t *tx) adopt(org ID) error {
	has, err := t.orgNamed(org.String())
	if err != nil {
		return err
	}
	if has != 0 {
		return errorf(CodeConflict, "organization %s can't be adopted: organization %s is named after its ID, rename that one first", org, has)
	}
	_, err = t.createOrg(org, org.String(), "")
	return err
}

// writer makes one new version of an organization's map.
type writer struct {
	*tx
	c   *Caller
	org ID
	rec *audit.Record

	head  headRecord
	state *stateRecord
	// stateChanged says that the state must be written too.
	stateChanged bool
	// unpinned are versions whose records may be needed no more.
	unpinned []uint64
	tag      string // of what there was to see before
	// empty says that the current version is hidden, so that the new one
	// starts from nothing.
	empty bool
}

func (w *writer) open() error {
	h, s, err := w.tx.head(w.org)
	if err != nil {
		return err
	}
	w.head, w.state, w.tag = *h, s, tag(h, s, w.Now)
	if w.head.Map == 0 {
		w.head = headRecord{Map: acl.NewID(), Oldest: 1, Floor: 1, Swept: 1, Created: w.Now}
	}
	w.empty = w.head.empty(w.state, w.Now)
	return nil
}

func (w *writer) write(ch Change) (Written, error) {
	if err := w.open(); err != nil {
		return Written{}, err
	}
	if ch.Exists && w.head.none() {
		return Written{}, ErrVersionNotFound
	}
	merged, err := w.checkCAS(&ch)
	if err != nil {
		return Written{}, err
	}
	if ch.Exists && w.empty {
		return Written{}, ErrVersionNotFound
	}
	changes, err := w.diff(ch)
	if err != nil {
		return Written{}, err
	}
	if len(changes) == 0 && !ch.Always {
		w.rec.Version, w.rec.Names, w.rec.Removed = w.head.Current, nil, nil
		return Written{Version: VersionInfo{Number: w.head.Current}}, errUnchanged
	}
	pinned := w.guard(ch, changes)
	info, err := w.commit(changes, ch.Set, versionRecord{Merged: merged})
	return Written{Version: info, Changed: true, Pinned: pinned}, err
}

// checkCAS compares ch.CAS with the current version. When a stale one is to
// be merged it turns ch into what was changed since, and returns the version
// that was read.
func (w *writer) checkCAS(ch *Change) (merged uint64, err error) {
	switch {
	case ch.Tag != "":
		if ch.Tag != w.tag {
			return 0, ErrCASMismatch
		}
		return 0, nil
	case ch.CAS == nil && w.state.CASRequired:
		return 0, ErrCASRequired
	case ch.CAS == nil || *ch.CAS == w.head.Current:
		return 0, nil
	case !ch.Merge || *ch.CAS > w.head.Current:
		return 0, ErrCASMismatch
	}
	read := *ch.CAS
	if read == 0 && w.empty {
		return 0, nil // it saw nothing, and nothing is what there is to see
	}
	delta, err := w.since(read, ch.Set)
	if err != nil {
		w.k.stats.MergeConflicts.Add(1)
		return 0, err
	}
	delta.Guard, delta.Always = ch.Guard, ch.Always
	*ch = delta
	return max(read, 1), nil
}

// since returns what differs between the version that was read and what is
// written. A name is in conflict when it is now neither what it was then nor
// what it is to become.
func (w *writer) since(read uint64, set map[string]string) (Change, error) {
	before := map[string]string{}
	if read > 0 {
		if (read < w.head.Floor && !w.state.pinned(read)) || w.state.destroyed(read) {
			return Change{}, ErrCASMismatch
		}
		err := w.scanVersion(w.head.Map, read, func(e entry, value string) error {
			if w.c.sees(e.name) {
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

func (w *writer) hash(name string) record.Hash { return w.DB().SecretHash(w.head.Map, name) }

// current returns what a name is now; nothing is there when the current
// version is hidden.
func (w *writer) current(name string, h record.Hash) (entry, string, bool, error) {
	if w.empty {
		return entry{}, "", false, nil
	}
	m := w.head.Map
	if !w.DB().Exclusive() {
		return w.secret(m, name, w.head.Current)
	}
	// With the version at hand, one record is looked up; without it, all that
	// the engine has of the name is looked through.
	at := nameKey{m, h}
	if n, known := w.k.newest.Get(at); known {
		e, value, ok, err := w.secretAt(m, name, h, n)
		if !errors.Is(err, store.ErrNotFound) {
			return e, value, ok, err
		}
	}
	e, value, ok, err := w.secret(m, name, w.head.Current)
	if err == nil && e.version > 0 {
		w.k.newest.Put(at, e.version)
	}
	return e, value, ok, err
}

// newestCache has, for names, the version of the newest record, or a later one
// that was to be written and then was not: so if there is a record of that
// version it is the newest. That holds where one process writes all versions.
type newestCache = gencache.Cache[nameKey, uint64]

// nameKey is a name of a map, as the hash of it.
type nameKey struct {
	m    ID
	hash record.Hash
}

// diff returns what a change really changes, in byte order of the names.
func (w *writer) diff(ch Change) (changes []change, err error) {
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
	if ch.Replace && !w.empty {
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

// missing lists the names that are there, that the caller sees, and that are
// not in set.
func (w *writer) missing(set map[string]string) ([]string, error) {
	var out []string
	s, err := w.snapshot(&w.head, w.state, w.head.Current, false)
	if err != nil {
		return nil, err
	}
	for _, name := range s.names {
		if _, ok := set[name]; !ok && w.c.sees(name) {
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
func (w *writer) guard(ch Change, changes []change) uint64 {
	if !ch.Guard || w.empty {
		return 0
	}
	removed, lost := 0, false
	for _, c := range changes {
		if c.Op == opRemove {
			removed++
		}
		lost = lost || c.Op != opAdd
	}
	limit := w.k.dropGuard
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
		w.letGo(w.state.Pinned[0])
	}
	return w.head.Current
}

// letGo unpins a version. What only it needed goes with the next sweep.
func (w *writer) letGo(n uint64) {
	w.changeState()
	w.state.Pinned = remove(w.state.Pinned, n)
	w.unpinned = append(w.unpinned, n)
}

// commit writes the new version, and prunes those that are too old.
func (w *writer) commit(changes []change, values map[string]string, r versionRecord) (VersionInfo, error) {
	m, n := w.head.Map, w.head.Current+1
	count := w.head.Count
	if w.empty {
		count = 0
		var err error
		if changes, err = w.hide(changes); err != nil {
			return VersionInfo{}, err
		}
	}
	w.rec.Names, w.rec.Removed = nil, nil
	for _, c := range changes {
		switch c.Op {
		case opAdd:
			count++
			w.rec.Names = append(w.rec.Names, c.Name)
		case opChange:
			w.rec.Names = append(w.rec.Names, c.Name)
		case opRemove:
			count--
			w.rec.Removed = append(w.rec.Removed, c.Name)
		}
		if err := w.w.Put(record.SecretKey(m, c.hash, n), encodeSecret(c.Op.kind(), c.Name, valueOf(values, c))); err != nil {
			return VersionInfo{}, err
		}
		w.k.newest.Put(nameKey{m, c.hash}, n)
	}
	if count > MaxNames {
		return VersionInfo{}, errorf(CodeInvalid, "an organization can have at most %d secrets", MaxNames)
	}
	r.Time, r.User, r.Token, r.Protocol, r.Count = w.Now, w.c.User, w.c.actor(), w.c.Origin.Protocol, count
	if err := w.putVersion(m, n, r, changes); err != nil {
		return VersionInfo{}, err
	}
	if len(changes) > changesPerChunk {
		w.head.Large = n
	}
	before := w.head.Updated
	w.head.Current, w.head.Count, w.head.Updated = n, count, w.Now
	w.rec.Version = n
	if after := w.state.DeleteVersionAfter; after > 0 {
		w.changeState()
		w.state.Deleted[n] = w.Now.Add(after)
	}
	if err := w.prune(len(changes), before); err != nil {
		return VersionInfo{}, err
	}
	if err := w.sweepUnpinned(); err != nil {
		return VersionInfo{}, err
	}
	return w.info(n, &r), w.save()
}

func compareNames(a, b change) int { return strings.Compare(a.Name, b.Name) }

func valueOf(values map[string]string, c change) string {
	if c.Op.kind() != kindValue {
		return ""
	}
	return values[c.Name]
}

// hide adds to the changes what the hidden current version would show and the
// new one must not.
func (w *writer) hide(changes []change) ([]change, error) {
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
			changes = append(changes, change{e.name, opHide, e.version, w.hash(e.name)})
		}
		return nil
	})
	slices.SortFunc(changes, compareNames)
	return changes, err
}

// changeState makes the state writable. The one that was read may be shared.
func (w *writer) changeState() {
	if !w.stateChanged {
		w.state, w.stateChanged = w.state.clone(), true
	}
}

func (w *writer) save() error {
	if w.stateChanged {
		return w.putState(w.org, w.head, w.state)
	}
	return w.putHead(w.org, w.head, w.state)
}
