package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
)

type importView struct {
	frame
	Content string // what was typed
	Format  secretfile.Format
	Formats []secretfile.Format
	Replace bool
	Reads   bool
	Preview *preview // nil before the first one
	Dirty   bool
}

func (*importView) page() string { return "import" }

// preview says what an import would do. A caller who can't read sees no difference
// between names that exist and those that don't.
type preview struct {
	Added, Changed, Unchanged, Removed, Set []string

	Tag    string // of the secrets that it was compared with
	Digest string // of what was typed
}

// Empty reports whether there is nothing to do.
func (p *preview) Empty() bool {
	return len(p.Added)+len(p.Changed)+len(p.Removed)+len(p.Set) == 0
}

func (c *call) newImportView() (*importView, error) {
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return nil, err
	}
	return &importView{Format: secretfile.Dotenv, Formats: secretfile.Formats(), Reads: c.caller.ReadsSecrets(c.org)}, nil
}

func (c *call) importPage() error {
	v, err := c.newImportView()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, v)
}

// partMemory is the memory that a parsed name or value takes besides its text: most in
// YAML, for a node of its tree.
const partMemory = 256

// importSecrets shows a preview and, if it was confirmed and nothing has changed
// since, writes the secrets in one version.
func (c *call) importSecrets() error {
	v, err := c.newImportView()
	if err != nil {
		return err
	}
	v.Dirty = true
	v.Content, v.Replace = c.form.get("content"), c.form.get("mode") == "replace"
	if v.Format, err = secretfile.ParseFormat(c.form.get("format")); err != nil {
		return errForm
	}
	parts := strings.Count(v.Content, "\n") + strings.Count(v.Content, ":") + strings.Count(v.Content, ",")
	if err := httpapi.ExchangeOf(c.ctx()).Reserve(partMemory * int64(parts)); err != nil {
		return err
	}
	secrets, err := secretfile.Parse(v.Format, []byte(v.Content))
	if err != nil {
		for message := range strings.SplitSeq(err.Error(), "\n") {
			v.Errors = append(v.Errors, fieldError{"content", sentence(message)})
		}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if len(secrets) == 0 {
		v.Errors = []fieldError{{"content", "There are no names in it."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if v.Replace && !v.Reads {
		v.Errors = []fieldError{{"", "Without permission to read, you can add and change secrets, not replace all of them."}}
		return c.show(http.StatusForbidden, v)
	}
	if v.Preview, err = c.previewImport(v, secrets); err != nil {
		return err
	}
	if !c.form.has("apply") {
		return c.show(http.StatusOK, v)
	}
	ch := keep.Change{Set: secrets, Replace: v.Replace, Tag: c.form.get("tag")}
	if c.form.get("digest") != v.Preview.Digest || v.Reads && ch.Tag != v.Preview.Tag {
		return c.previewAgain(v)
	}
	if !v.Reads {
		ch.Tag = ""
	}
	_, err = c.keep.Change(c.ctx(), c.caller, c.org, ch)
	if errors.Is(err, keep.ErrCASMismatch) {
		if v.Preview, err = c.previewImport(v, secrets); err != nil {
			return err
		}
		return c.previewAgain(v)
	}
	if err != nil {
		return c.showError(v, "", "Nothing was applied: ", err)
	}
	return c.redirect(c.orgPath("/secrets?done=applied"))
}

// previewAgain shows the preview instead of applying one that is out of date.
func (c *call) previewAgain(v *importView) error {
	v.Errors = []fieldError{{"", "Nothing was applied: the secrets, or what you typed, changed after the preview. This is a new one."}}
	return c.show(http.StatusConflict, v)
}

// previewImport compares what was typed with the stored secrets.
func (c *call) previewImport(v *importView, secrets map[string]string) (*preview, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v\n%s", v.Format, v.Replace, v.Content))
	p := &preview{Digest: hex.EncodeToString(sum[:])}
	names := slices.Sorted(maps.Keys(secrets))
	if !v.Reads {
		p.Set = names
		return p, nil
	}
	d, err := c.keep.Values(c.ctx(), c.caller, c.org, names, "")
	if err != nil {
		return nil, err
	}
	p.Tag = d.Tag
	stored := make(map[string]string, len(d.Secrets))
	for _, s := range d.Secrets {
		stored[s.Name] = s.Value
	}
	for _, name := range names {
		switch old, ok := stored[name]; {
		case !ok:
			p.Added = append(p.Added, name)
		case old != secrets[name]:
			p.Changed = append(p.Changed, name)
		default:
			p.Unchanged = append(p.Unchanged, name)
		}
	}
	if !v.Replace {
		return p, nil
	}
	all, err := c.keep.SecretNames(c.ctx(), c.caller, c.org)
	for _, name := range all {
		if _, ok := secrets[name]; !ok {
			p.Removed = append(p.Removed, name)
		}
	}
	return p, err
}
