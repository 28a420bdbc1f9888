package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type historyView struct {
	frame
	Versions []versionRow
	Current  uint64
	Limited  bool
}

func (*historyView) page() string { return "history" }

// versionRow is a version with its author and some of its names.
type versionRow struct {
	keep.VersionInfo
	By       author
	Names    []changedName // the first ones
	More     int           // how many more there are
	Restores bool          // the caller may roll back to it
}

// changedName is a name that a version changed.
type changedName struct {
	Sign, Kind, Name string
	Ref              string
	Old, New         uint64 // versions in which a value can be shown, 0 for none
}

const shortList = 5

func changedNames(v keep.VersionInfo) []changedName {
	var names []changedName
	for _, n := range v.Added {
		names = append(names, changedName{Sign: "+", Kind: "added", Name: n, New: v.Number})
	}
	for _, n := range v.Changed {
		names = append(names, changedName{Sign: "~", Kind: "changed", Name: n, New: v.Number})
	}
	for _, n := range v.Removed {
		names = append(names, changedName{Sign: "−", Kind: "removed", Name: n})
	}
	return names
}

// versions returns the history with authors.
func (c *call) versions(s *keep.SecretsView) ([]versionRow, error) {
	history, err := s.Versions()
	if err != nil {
		return nil, err
	}
	names, err := s.Authors(history)
	if err != nil {
		return nil, err
	}
	rows := make([]versionRow, len(history))
	for i, h := range history {
		rows[i] = versionRow{
			VersionInfo: h, By: authorNamed(h.User, h.Token, names[i].User, names[i].Description, h.Protocol),
			Restores: c.rollsBack() && i > 0 && !h.Destroyed && !h.Hidden,
		}
	}
	return rows, nil
}

// rollsBack reports whether rolling back is offered to the caller.
func (c *call) rollsBack() bool {
	return c.caller.ReadsSecrets(c.org) && c.caller.WritesSecrets(c.org) && !c.caller.Limited()
}

func (c *call) historyPage() error {
	var rows []versionRow
	err := c.viewSecrets("secrets.history", func(s *keep.SecretsView) (err error) {
		rows, err = c.versions(s)
		return err
	})
	if err != nil {
		return err
	}
	v := &historyView{Versions: rows, Limited: c.caller.Limited()}
	if len(rows) > 0 {
		v.Current = rows[0].Number
	}
	for i := range rows {
		names := changedNames(rows[i].VersionInfo)
		rows[i].Names = names[:min(len(names), shortList)]
		rows[i].More = len(names) - len(rows[i].Names)
	}
	v.Done = c.done(map[string]string{
		"restored": fmt.Sprintf("Restored as version %d.", v.Current), "dismissed": "The version is no longer pinned.",
	})
	return c.show(http.StatusOK, v)
}

type versionView struct {
	frame
	Version versionRow
	Changes []changedName
	Current bool
}

func (*versionView) page() string { return "version" }

// versionNumber returns the version in the path.
func (c *call) versionNumber() (uint64, error) {
	n, err := strconv.ParseUint(c.r.PathValue("version"), 10, 64)
	if err != nil || n == 0 {
		return 0, errMissing
	}
	return n, nil
}

func (c *call) versionPage() error {
	n, err := c.versionNumber()
	if err != nil {
		return err
	}
	v := &versionView{}
	err = c.viewSecrets("secrets.history", func(s *keep.SecretsView) error {
		rows, err := c.versions(s)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r versionRow) bool { return r.Number == n })
		if i < 0 {
			return keep.ErrVersionNotFound
		}
		v.Version, v.Changes, v.Current = rows[i], changedNames(rows[i].VersionInfo), i == 0
		if i+1 < len(rows) {
			previous := rows[i+1].Number
			for j := range v.Changes {
				if v.Changes[j].Sign != "+" {
					v.Changes[j].Old = previous
				}
			}
		}
		addReferences(s, v.Changes)
		return nil
	})
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, v)
}

func addReferences(s *keep.SecretsView, list []changedName) {
	ref := s.Reference()
	for i := range list {
		list[i].Ref = ref(list[i].Name)
	}
}

type compareView struct {
	frame
	From, To uint64
	Versions []uint64
	Changes  []changedName
}

func (*compareView) page() string { return "compare" }

// comparePage compares two versions. Their numbers are in the query.
func (c *call) comparePage() error {
	from, err := strconv.ParseUint(c.r.URL.Query().Get("old"), 10, 64)
	if err != nil || from == 0 {
		return errMissing
	}
	to, err := strconv.ParseUint(c.r.URL.Query().Get("new"), 10, 64)
	if err != nil {
		return errMissing
	}
	if to != 0 && from > to {
		from, to = to, from
	}
	v := &compareView{From: from}
	err = c.viewSecrets("secrets.history", func(s *keep.SecretsView) (err error) {
		if v.Changes, v.To, err = compare(s, from, to); err != nil {
			return err
		}
		history, err := s.Versions()
		v.Versions = nil
		for _, h := range history {
			v.Versions = append(v.Versions, h.Number)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, v)
}

// compare returns the names that differ between two versions, in byte order of each
// kind. To 0 is the current version.
func compare(s *keep.SecretsView, from, to uint64) ([]changedName, uint64, error) {
	d, to, err := s.Compare(from, to)
	if err != nil {
		return nil, 0, err
	}
	var list []changedName
	for _, n := range d.Added {
		list = append(list, changedName{Sign: "+", Kind: "added", Name: n, New: to})
	}
	for _, n := range d.Changed {
		list = append(list, changedName{Sign: "~", Kind: "changed", Name: n, Old: from, New: to})
	}
	for _, n := range d.Removed {
		list = append(list, changedName{Sign: "−", Kind: "removed", Name: n, Old: from})
	}
	addReferences(s, list)
	return list, to, nil
}

// restoreView previews what rolling back changes now.
type restoreView struct {
	frame
	Version uint64
	Pinned  bool
	Current uint64 // the version that the preview is of
	Changes []changedName
	Missing []changedName // names that only the earlier version has
	Next    uint64
}

func (*restoreView) page() string { return "restore" }

// restoreView makes the preview.
func (c *call) restoreView() (*restoreView, error) {
	n, err := c.versionNumber()
	if err != nil {
		return nil, err
	}
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return nil, err
	}
	if !c.rollsBack() {
		return nil, c.refuse("secrets.rollback")
	}
	v := &restoreView{Version: n}
	err = c.viewSecrets("secrets.history", func(s *keep.SecretsView) error {
		versions, err := s.Versions()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(versions, func(v keep.VersionInfo) bool { return v.Number == n })
		if i < 0 || n == s.Current() {
			return keep.ErrVersionNotFound
		}
		v.Pinned = versions[i].Pinned
		v.Changes, v.Current, err = compare(s, n, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	// The comparison is from the earlier version to the current one, the
	// rollback goes back.
	for j := range v.Changes {
		ch := &v.Changes[j]
		switch ch.Old, ch.New = ch.New, ch.Old; ch.Sign {
		case "+":
			ch.Sign, ch.Kind = "−", "removed"
		case "−":
			ch.Sign, ch.Kind = "+", "added"
			v.Missing = append(v.Missing, *ch)
		}
	}
	v.Next = v.Current + 1
	return v, nil
}

func (c *call) restorePage() error {
	v, err := c.restoreView()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, v)
}

// restore rolls back, restores only the names that are missing, or unpins the
// version.
func (c *call) restore() error {
	v, err := c.restoreView()
	if err != nil {
		return err
	}
	seen, err := strconv.ParseUint(c.form.get("current"), 10, 64)
	if err != nil {
		return errForm
	}
	word := "restored"
	switch c.form.get("action") {
	case "all":
		_, err = c.keep.RollbackFrom(c.ctx(), c.caller, c.org, v.Version, seen)
	case "missing":
		err = c.restoreMissing(v, seen)
	case "dismiss":
		word, err = "dismissed", c.keep.Unpin(c.ctx(), c.caller, c.org, v.Version)
	default:
		return errForm
	}
	if errors.Is(err, keep.ErrCASMismatch) || errors.Is(err, keep.ErrSecretChanged) {
		err = &problem{status: http.StatusConflict, message: "the secrets were changed after you opened this page. Check the list again."}
	}
	if err != nil {
		return c.showError(v, "", "Not restored: ", err)
	}
	return c.redirect(c.orgPath("/history?done=" + word))
}

// restoreMissing restores the names that only the earlier version has, if the current
// one is still the one that the caller saw.
func (c *call) restoreMissing(v *restoreView, seen uint64) error {
	if seen != v.Current {
		return keep.ErrSecretChanged
	}
	names := make([]string, len(v.Missing))
	for i, m := range v.Missing {
		names[i] = m.Name
	}
	values, err := c.keep.ValuesAt(c.ctx(), c.caller, c.org, names, v.Version)
	if err != nil {
		return err
	}
	ch := keep.Change{Set: map[string]string{}}
	for _, s := range values {
		ch.Set[s.Name] = s.Value
	}
	_, err = c.keep.ChangeSince(c.ctx(), c.caller, c.org, ch, 0)
	return err
}
