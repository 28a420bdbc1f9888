package web

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

const (
	smallForm = 64 << 10
	// largeForm fits a value of 1 MiB in which every byte is escaped.
	largeForm = 4 << 20
)

// carried is the prefix of fields that a sign-in carries for the form that was sent
// without a session.
const carried = "form."

// form is a decoded form.
type form struct{ values url.Values }

// get returns a field, "" if there is none.
func (f form) get(name string) string { return f.values.Get(name) }

// all returns the fields with a name.
func (f form) all(name string) []string { return f.values[name] }

// key returns the key of a user's form at a path. The content includes once.
func (f form) key(identity, path string) (k onceKey) {
	h := sha256.New()
	add := func(texts ...string) {
		fmt.Fprintf(h, "%d ", len(texts))
		for _, t := range texts {
			fmt.Fprintf(h, "%d ", len(t))
			io.WriteString(h, t)
		}
	}
	add(identity, path)
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		add(name)
		add(f.values[name]...)
	}
	h.Sum(k[:0])
	return k
}

// shownSize is the size of the form's content on a page, with all its characters
// escaped that must be.
func (f form) shownSize() (size int64) {
	for _, list := range f.values {
		for _, text := range list {
			size += int64(len(text))
			for i := range len(text) {
				if strings.IndexByte("\"'&<>+\x00", text[i]) >= 0 {
					size += int64(len("&#34;") - 1)
				}
			}
		}
	}
	return size
}

// has reports whether the form has the field.
func (f form) has(name string) bool { return f.values.Has(name) }

// active returns the status that a form asks for.
func (f form) active() (bool, error) {
	switch f.get("status") {
	case "active":
		return true, nil
	case "inactive":
		return false, nil
	}
	return false, errForm
}

// readForm decodes the form of a POST. It accepts only the route's fields, and
// every form's: once and user.
func (c *call) readForm(r route) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if c.r.ContentLength == 0 && err != nil {
		kind = "application/x-www-form-urlencoded"
	}
	if kind != "application/x-www-form-urlencoded" {
		return errMediaType
	}
	limit := r.limit
	if limit == 0 {
		limit = smallForm
	}
	body, err := httpapi.ReadBody(c.w, c.r, limit)
	if err != nil {
		return err
	}
	// The decoded fields take as much memory again.
	if err := httpapi.ExchangeOf(c.ctx()).Reserve(int64(len(body))); err != nil {
		return err
	}
	values, err := url.ParseQuery(string(body))
	clear(body)
	if err != nil {
		return errForm
	}
	for name, list := range values {
		if !allowed(r.fields, name, len(list)) {
			return errForm
		}
		for i, text := range list {
			if !utf8.ValidString(text) {
				return errForm
			}
			list[i] = lineFeeds(text)
		}
	}
	c.form = form{values}
	if limit <= smallForm {
		return nil
	}
	// A page that shows the fields again has them escaped, and is put together in a
	// buffer. This is reserved before anything is changed.
	return httpapi.ExchangeOf(c.ctx()).Reserve(2 * c.form.shownSize())
}

func allowed(fields []string, name string, count int) bool {
	for _, f := range slices.Concat(fields, []string{"once", "user"}) {
		prefix, many := strings.CutSuffix(f, "*")
		switch {
		case many && prefix == carried:
			if strings.HasPrefix(name, carried) {
				return true
			}
		case prefix == name:
			return many || count == 1
		}
	}
	return false
}

// lineFeeds undoes what browsers do to line breaks in forms.
func lineFeeds(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// fieldError is what is wrong with a field of a form.
type fieldError struct {
	Field   string // the ID of the field, "" for the whole form
	Message string
}
