package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// deleteView asks whether secrets should be deleted.
type deleteView struct {
	frame
	Secrets  []deletedSecret
	Version  uint64 // the current one when the page was made
	Versions int    // how many versions history stores
	Count    bool   // the number of secrets must be typed
	All      bool
	Filter   string
}

func (*deleteView) page() string { return "delete" }

type deletedSecret struct {
	Name, Ref string
	Read      time.Time // in the last 30 days
	Reader    author
}

const (
	readLately = 7 * 24 * time.Hour
	readMonth  = 30 * 24 * time.Hour
	manyNames  = 10
)

// deleteSecrets shows what would be deleted and, once that was confirmed, deletes
// it.
func (c *call) deleteSecrets() error {
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return err
	}
	v := &deleteView{All: c.form.has("all"), Filter: c.form.get("filter")}
	var names []string
	err := c.viewSecrets("secrets.readers", func(s *keep.SecretsView) (err error) {
		if names, err = c.selected(s); err != nil || len(names) == 0 {
			return err
		}
		return c.describeDeleted(s, v, names)
	})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return c.redirect(c.orgPath("/secrets"))
	}
	if !c.form.has("confirm") {
		return c.show(http.StatusOK, v)
	}
	since, err := strconv.ParseUint(c.form.get("version"), 10, 64)
	if err != nil {
		return errForm
	}
	if typed := strings.TrimSpace(c.form.get("count")); v.Count && typed != strconv.Itoa(len(names)) {
		v.Errors = []fieldError{{"count", fmt.Sprintf("Type %d to delete %s.", len(names), plural(len(names), "secret"))}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	_, err = c.keep.ChangeSince(c.ctx(), c.caller, c.org, keep.Change{Remove: names}, since)
	if errors.Is(err, keep.ErrSecretChanged) {
		err = &problem{status: http.StatusConflict, message: "a secret was changed after you opened this page. Check the list again."}
	}
	if err != nil {
		return c.showError(v, "", "Not deleted: ", err)
	}
	return c.redirect(c.orgPath("/secrets?done=deleted"))
}

// selected returns the names of the selected secrets, or of all that match the
// filter, in byte order. An unknown reference is ErrSecretNotFound.
func (c *call) selected(s *keep.SecretsView) ([]string, error) {
	if !c.form.has("all") {
		var names []string
		for _, ref := range c.form.all("select") {
			name, err := s.Name(ref)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
		slices.Sort(names)
		return slices.Compact(names), nil
	}
	list, _, err := s.Changes(keep.SecretFilter{Contains: c.form.get("filter")})
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return names, err
}

// describeDeleted says who has read the secrets lately.
func (c *call) describeDeleted(s *keep.SecretsView, v *deleteView, names []string) error {
	v.Version, v.Versions = s.Current(), s.MaxVersions()
	readers, err := lastReaders(s)
	if err != nil {
		return err
	}
	ref, now := s.Reference(), c.config.Now()
	v.Secrets = nil
	v.Count = len(names) > manyNames
	for _, name := range names {
		d := deletedSecret{Name: name, Ref: ref(name)}
		if r, ok := readers[name]; ok && now.Sub(r.Time) < readMonth {
			d.Read, d.Reader = r.Time, readerOf(r)
			v.Count = v.Count || now.Sub(r.Time) < readLately
		}
		v.Secrets = append(v.Secrets, d)
	}
	slices.SortStableFunc(v.Secrets, func(a, b deletedSecret) int { return b.Read.Compare(a.Read) })
	return nil
}

// snippetsView has snippets for the selected secrets.
type snippetsView struct {
	frame
	Names    []string
	Snippets []snippet
}

func (*snippetsView) page() string { return "snippets" }

// maxSnippets is the most secrets that a page has snippets for.
const maxSnippets = 1000

func (c *call) copySecrets() error {
	var names []string
	err := c.viewSecrets("secrets.list", func(s *keep.SecretsView) (err error) {
		names, err = c.selected(s)
		return err
	})
	if err != nil {
		return err
	}
	if len(names) > maxSnippets {
		return errSnippets
	}
	if len(names) == 0 {
		return c.redirect(c.orgPath("/secrets"))
	}
	v := &snippetsView{Names: names, Snippets: c.snippets(names...)}
	return c.show(http.StatusOK, v)
}
