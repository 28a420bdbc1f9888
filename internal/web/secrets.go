package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const (
	firstRows = 1000 // secrets on a page if there are no more
	pageRows  = 500  // secrets on a page if there are more
	// sortRows is how many secrets can be sorted by what isn't stored in order.
	sortRows = 20_000
)

type secretsView struct {
	frame
	Reads, Writes bool
	Rows          []secretRow
	Total         int // of all secrets
	Matches       int // of those that match the filter
	Filter        string
	Columns       []column
	Sort          string
	Descending    bool
	Page, Pages   int
	Previous      string // a link; "" if there is none
	Next          string
	Pinned        []pinned
	Whole         bool // all secrets are on the page, so that the script can filter
}

func (*secretsView) page() string { return "secrets" }

type secretRow struct {
	Name, Ref string
	Changed   time.Time
	By        author
	Version   uint64
	Read      time.Time
	Reader    author
}

// column is the head of a column. Link and Desc sort by it.
type column struct {
	Label, Key string
	Link       string
	Direction  string // "ascending" or "descending" if the list is sorted by it
	Reverse    bool   // the next click sorts in descending order
}

// pinned is a version that the drop guard pinned, and what the next one removed.
type pinned struct {
	Version, By uint64
	Removed     int
}

func (c *call) secretsPage() error {
	q := c.r.URL.Query()
	page, err := strconv.Atoi(q.Get("page"))
	if err != nil {
		page = 1
	}
	return c.listSecrets("", q.Get("sort"), q.Has("desc"), page)
}

// filterSecrets lists the secrets whose names contain a text. It is a POST so that
// the text is in no history and no log.
func (c *call) filterSecrets() error {
	page, err := strconv.Atoi(c.form.get("page"))
	if err != nil {
		page = 1
	}
	by, desc := strings.CutPrefix(c.form.get("sort"), "-")
	return c.listSecrets(c.form.get("filter"), by, desc, page)
}

func (c *call) listSecrets(filter, by string, desc bool, page int) error {
	v := &secretsView{
		Reads: c.caller.ReadsSecrets(c.org), Writes: c.caller.WritesSecrets(c.org),
		Filter: filter, Sort: by, Descending: desc,
	}
	v.Done = c.done(map[string]string{
		"deleted": "Deleted. The values stay in the history for now.", "set": "Saved.", "applied": "Applied.",
	})
	if !v.Reads {
		if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
			return err
		}
		return c.show(http.StatusOK, v)
	}
	err := c.viewSecrets("secrets.list", func(s *keep.SecretsView) error {
		if err := c.findSecrets(s, v, page); err != nil || c.caller.Limited() {
			return err
		}
		return findPinned(s, v)
	})
	if err != nil {
		return err
	}
	for _, col := range []column{{Label: "Name", Key: "name"}, {Label: "Changed", Key: "changed"}, {Label: "By", Key: "by"}, {Label: "Version", Key: "version"}, {Label: "Last read", Key: "read"}} {
		if v.Sort == col.Key {
			col.Direction, col.Reverse = "ascending", !v.Descending
			if v.Descending {
				col.Direction = "descending"
			}
		} else {
			col.Reverse = col.Key == "changed" || col.Key == "read" || col.Key == "version"
		}
		if v.Matches <= sortRows || col.Key == "name" || col.Key == "changed" || col.Key == "version" {
			col.Link = v.link(col.Key, col.Reverse, 1)
		}
		v.Columns = append(v.Columns, col)
	}
	return c.show(http.StatusOK, v)
}

// link returns the query of a page of the list, without the filter.
func (v *secretsView) link(by string, desc bool, page int) string {
	q := url.Values{}
	if by != "name" {
		q.Set("sort", by)
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	text := q.Encode()
	if desc {
		text = strings.TrimPrefix(text+"&desc", "&")
	}
	return "?" + text
}

// findSecrets finds the page's rows.
func (c *call) findSecrets(s *keep.SecretsView, v *secretsView, page int) error {
	f := keep.SecretFilter{Contains: v.Filter}
	switch v.Sort {
	case "changed", "version":
		f.ByChange = true
	case "by", "read":
	default:
		v.Sort = "name"
	}
	f.Page.Descending = v.Descending
	f.Page.Limit = firstRows
	sorted := v.Sort == "by" || v.Sort == "read"
	if sorted {
		f.Page.Limit, f.Page.Descending = sortRows, false
	}
	list, total, err := s.Changes(f)
	if err != nil {
		return err
	}
	readers, err := lastReaders(s)
	if err != nil {
		return err
	}
	v.Matches, v.Total = total, total
	if v.Filter != "" {
		if _, v.Total, err = s.Changes(keep.SecretFilter{Page: keep.Page{Limit: 1}}); err != nil {
			return err
		}
	}
	rows := firstRows
	if v.Whole = total <= firstRows; !v.Whole {
		rows = pageRows
	}
	v.Pages = max(1, (total+rows-1)/rows)
	v.Page = min(max(page, 1), v.Pages)
	at := (v.Page - 1) * rows
	switch {
	case sorted:
		slices.SortStableFunc(list, func(a, b keep.SecretChange) int {
			n := readers[a.Name].Time.Compare(readers[b.Name].Time)
			if v.Sort == "by" {
				n = strings.Compare(authorOf(a).String(), authorOf(b).String())
			}
			if v.Descending {
				n = -n
			}
			return cmp.Or(n, strings.Compare(a.Name, b.Name))
		})
	case at+rows > len(list) && len(list) < total:
		f.Page.Offset, f.Page.Limit = at, rows
		if list, _, err = s.Changes(f); err != nil {
			return err
		}
		at = 0
	}
	list = list[min(at, len(list)):min(at+rows, len(list))]
	v.Previous, v.Next = "", ""
	if v.Page > 1 {
		v.Previous = v.link(v.Sort, v.Descending, v.Page-1)
	}
	if v.Page < v.Pages {
		v.Next = v.link(v.Sort, v.Descending, v.Page+1)
	}
	ref := s.Reference()
	v.Rows = nil // of an earlier attempt
	for _, ch := range list {
		row := secretRow{Name: ch.Name, Ref: ref(ch.Name), Changed: ch.Time, By: authorOf(ch), Version: ch.Version}
		if r, ok := readers[ch.Name]; ok {
			row.Read, row.Reader = r.Time, readerOf(r)
		}
		v.Rows = append(v.Rows, row)
	}
	return nil
}

// lastReaders returns the last reader of each secret that has one.
func lastReaders(s *keep.SecretsView) (map[string]keep.SecretReader, error) {
	list, err := s.Readers(nil)
	last := make(map[string]keep.SecretReader, len(list))
	for _, r := range list {
		last[r.Name] = r.Readers[0]
	}
	return last, err
}

// findPinned finds versions that the drop guard pinned.
func findPinned(s *keep.SecretsView, v *secretsView) error {
	history, err := s.Versions()
	v.Pinned = nil
	for i, h := range history {
		if h.Pinned && i > 0 && anyMissing(history[:i]) {
			v.Pinned = append(v.Pinned, pinned{h.Number, history[i-1].Number, len(history[i-1].Removed)})
		}
	}
	return err
}

// anyMissing reports whether a name that the oldest of the versions removed has not been
// added since. The versions are newest first.
func anyMissing(versions []keep.VersionInfo) bool {
	missing := make(map[string]bool)
	for _, n := range versions[len(versions)-1].Removed {
		missing[n] = true
	}
	for _, v := range slices.Backward(versions[:len(versions)-1]) {
		for _, n := range v.Added {
			delete(missing, n)
		}
	}
	return len(missing) > 0
}

// value answers the script with the value of one secret. It is a read like any
// other.
func (c *call) value() error {
	name, err := c.keep.SecretName(c.ctx(), c.caller, c.org, c.r.PathValue("ref"))
	if err != nil {
		return err
	}
	var found []keep.Secret
	if text := c.form.get("version"); text == "" {
		var d keep.Document
		d, err = c.keep.Values(c.ctx(), c.caller, c.org, []string{name}, "")
		found = d.Secrets
	} else {
		version, perr := strconv.ParseUint(text, 10, 64)
		if perr != nil || version == 0 {
			return errForm
		}
		found, err = c.keep.ValuesAt(c.ctx(), c.caller, c.org, []string{name}, version)
	}
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &problem{http.StatusNotFound, "Not found", "This value no longer exists."}
	}
	return c.respond(http.StatusOK, map[string]string{"value": found[0].Value})
}

type secretView struct {
	frame
	Name, Ref string
	Exists    bool
	Last      keep.SecretChange
	By        author
	History   []historyRow
	Readers   []readerRow
	Snippets  []snippet
	Writes    bool
}

func (*secretView) page() string { return "secret" }

// historyRow is a change of one secret.
type historyRow struct {
	keep.SecretChange
	By      author
	Current bool
}

type readerRow struct {
	keep.SecretReader
	By author
}

func (c *call) secretPage() error {
	name, err := c.keep.SecretName(c.ctx(), c.caller, c.org, c.r.PathValue("ref"))
	if err != nil {
		return err
	}
	v, err := c.secretView(name)
	if err != nil {
		return err
	}
	version := fmt.Sprintf("Saved as version %s.", count(int(v.Last.Version)))
	v.Done = c.done(map[string]string{
		"added": "Added. " + version, "changed": version, "restored": version,
		"same": "The value was the same, so nothing was changed.",
	})
	return c.show(http.StatusOK, v)
}

// secretView returns the view of the secret in the path, which has a name.
func (c *call) secretView(name string) (*secretView, error) {
	var history []keep.SecretChange
	var readers []keep.SecretReaders
	err := c.keep.ViewSecrets(c.ctx(), c.caller, "secrets.history", c.org, []string{name}, func(s *keep.SecretsView) (err error) {
		if history, err = s.History(name); err == nil {
			readers, err = s.Readers([]string{name})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	v := &secretView{
		Name: name, Ref: c.r.PathValue("ref"), Last: history[0], By: authorOf(history[0]),
		Exists: !history[0].Removed && !history[0].Hidden,
		Writes: c.caller.WritesSecrets(c.org), Snippets: c.snippets(name),
	}
	for i, h := range history {
		v.History = append(v.History, historyRow{h, authorOf(h), i == 0})
	}
	for _, s := range readers {
		for _, r := range s.Readers {
			v.Readers = append(v.Readers, readerRow{r, readerOf(r)})
		}
	}
	return v, nil
}

// Seen is the version for keep.ChangeSince.
func (v *secretView) Seen() uint64 {
	if v.Last.Removed {
		return 0
	}
	return v.Last.Version
}

// restoreSecret gives the secret an earlier value back.
func (c *call) restoreSecret() error {
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return err
	}
	ref := c.r.PathValue("ref")
	name, err := c.keep.SecretName(c.ctx(), c.caller, c.org, ref)
	if err != nil {
		return err
	}
	version, err := strconv.ParseUint(c.form.get("version"), 10, 64)
	if err != nil || version == 0 {
		return errForm
	}
	seen, err := strconv.ParseUint(c.form.get("seen"), 10, 64)
	if err != nil {
		return errForm
	}
	out, err := c.keep.RollbackSecretSince(c.ctx(), c.caller, c.org, name, version, seen)
	if errors.Is(err, keep.ErrSecretChanged) {
		err = &problem{status: http.StatusConflict, message: "the secret was changed after you opened this page. Check its versions again."}
	}
	if err != nil {
		v, verr := c.secretView(name)
		if verr != nil {
			return verr
		}
		return c.showError(v, "", "Not restored: ", err)
	}
	word := "restored"
	if !out.Changed {
		word = "same"
	}
	return c.redirect(c.orgPath("/secrets/" + ref + "?done=" + word))
}
