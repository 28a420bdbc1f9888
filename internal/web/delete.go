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
	names, err := c.selected()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return c.redirect(c.orgPath("/secrets"))
	}
	if err := c.describeDeleted(v, names); err != nil {
		return err
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
// filter.
func (c *call) selected() ([]string, error) {
	if !c.form.has("all") {
		return c.names(c.form.all("select"))
	}
	list, _, err := c.keep.SecretChanges(c.ctx(), c.caller, c.org, keep.SecretFilter{Contains: c.form.get("filter")})
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return names, err
}

// describeDeleted says who has read the secrets lately.
func (c *call) describeDeleted(v *deleteView, names []string) error {
	m, err := c.keep.Metadata(c.ctx(), c.caller, c.org)
	if err != nil {
		return err
	}
	v.Version, v.Versions = m.Current, m.MaxVersions
	if v.Versions == 0 {
		v.Versions = keep.DefaultMaxVersions
	}
	readers, err := c.lastReaders()
	if err != nil {
		return err
	}
	ref, err := c.keep.References(c.ctx(), c.caller, c.org)
	if err != nil {
		return err
	}
	now := c.config.Now()
	v.Count = len(names) > manyNames
	for _, name := range names {
		s := deletedSecret{Name: name, Ref: ref(name)}
		if r, ok := readers[name]; ok && now.Sub(r.Time) < readMonth {
			s.Read, s.Reader = r.Time, readerOf(r)
			v.Count = v.Count || now.Sub(r.Time) < readLately
		}
		v.Secrets = append(v.Secrets, s)
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
	names, err := c.selected()
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
