package secretmap

// DeleteVersions hides versions until they are undeleted; without arguments, the
// current one. Versions that don't exist are ignored.
func (w *Writer) DeleteVersions(versions ...uint64) error {
	if w.head.Current == 0 {
		return ErrUnchanged
	}
	if len(versions) == 0 {
		versions = []uint64{w.head.Current}
	}
	w.changeState()
	for _, n := range versions {
		if w.Kept(n) && !w.state.hidden(n, w.r.Now) {
			w.state.Deleted[n] = w.r.Now
		}
	}
	return w.save()
}

// UndeleteVersions shows deleted versions again, for as long as a new version
// would be shown.
func (w *Writer) UndeleteVersions(versions ...uint64) error {
	if w.head.Current == 0 {
		return ErrUnchanged
	}
	w.changeState()
	for _, n := range versions {
		if !w.Kept(n) || w.state.destroyed(n) {
			continue
		}
		delete(w.state.Deleted, n)
		if after := w.state.DeleteVersionAfter; after > 0 {
			w.state.Deleted[n] = w.r.Now.Add(after)
		}
	}
	return w.save()
}

// DestroyVersions permanently removes values that only these versions show, also
// from the history of each secret. There, versions that no longer exist may still
// have values.
func (w *Writer) DestroyVersions(versions ...uint64) error {
	if w.head.Current == 0 {
		return ErrUnchanged
	}
	w.changeState()
	// A write can't be merged with a version from which values may be missing.
	w.head.Floor = max(w.head.Floor, w.head.Oldest)
	for _, n := range versions {
		if w.Kept(n) {
			w.state.Destroyed = insert(w.state.Destroyed, n)
		}
	}
	if err := w.sweepMap(versions...); err != nil {
		return err
	}
	return w.save()
}

// Unpin unpins a version that the drop guard has pinned.
func (w *Writer) Unpin(version uint64) error {
	if !w.state.pinned(version) {
		return ErrVersionNotFound
	}
	w.unpin(version)
	if err := w.sweepUnpinned(); err != nil {
		return err
	}
	return w.save()
}

// Sweep removes all records that neither a version nor the secrets' own history
// needs, at once instead of in parts.
func (w *Writer) Sweep() error {
	if w.head.Current == 0 {
		return ErrUnchanged
	}
	w.head.Floor = max(w.head.Floor, w.head.Oldest)
	if err := w.sweepMap(); err != nil {
		return err
	}
	return w.save()
}
