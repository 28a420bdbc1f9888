package web

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// editView is the form for a new secret or a new value. The old value is never in
// it.
type editView struct {
	frame
	New       bool
	Name, Ref string
	Value     string // what was typed
	CRLF      bool
	Version   uint64 // of the secret when the form was opened, 0 for a new one
	Warnings  []string
	Conflict  *conflict
	Dirty     bool // the form has input that isn't saved
}

func (*editView) page() string { return "edit" }

// conflict is a change that somebody else made while the form was open.
type conflict struct {
	keep.SecretChange
	By   author
	Next uint64 // the version that saving makes, if nothing else changes
}

func (c *call) newSecretPage() error {
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return err
	}
	return c.show(http.StatusOK, &editView{New: true})
}

func (c *call) newSecret() error {
	v := &editView{New: true, Name: c.form.get("name")}
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return err
	}
	if c.form.has("suggested") { // from the list
		return c.show(http.StatusOK, v)
	}
	return c.saveSecret(v)
}

func (c *call) editSecretPage() error {
	v, err := c.editView()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, v)
}

func (c *call) editSecret() error {
	v, err := c.editView()
	if err != nil {
		return err
	}
	return c.saveSecret(v)
}

// editView returns the form for the secret in the path.
func (c *call) editView() (*editView, error) {
	v := &editView{Ref: c.r.PathValue("ref")}
	if err := c.keep.CheckWrite(c.ctx(), c.caller, c.org); err != nil {
		return nil, err
	}
	var err error
	if v.Name, err = c.keep.SecretName(c.ctx(), c.caller, c.org, v.Ref); err != nil {
		return nil, err
	}
	history, err := c.keep.SecretHistory(c.ctx(), c.caller, c.org, v.Name)
	if err != nil {
		return nil, err
	}
	if last := history[0]; !last.Removed {
		v.Version = last.Version
	}
	return v, nil
}

// saveSecret saves what was typed, or shows the form again with what is wrong.
func (c *call) saveSecret(v *editView) error {
	v.Value, v.CRLF = c.form.get("value"), c.form.has("crlf")
	v.Dirty = true
	value := v.Value
	if v.CRLF {
		value = strings.ReplaceAll(value, "\n", "\r\n")
	}
	v.Version = 0
	if text := c.form.get("version"); text != "" {
		var err error
		if v.Version, err = strconv.ParseUint(text, 10, 64); err != nil {
			return errForm
		}
	}
	switch {
	case v.Name == "":
		v.Errors = append(v.Errors, fieldError{"name", "Enter a name."})
	case len(v.Name) > keep.MaxName:
		v.Errors = append(v.Errors, fieldError{"name", fmt.Sprintf("The name is %s long; %s are allowed.", formatBytes(len(v.Name)), count(keep.MaxName))})
	}
	if len(value) > keep.MaxValue {
		v.Errors = append(v.Errors, fieldError{"value", fmt.Sprintf("The value is %s long; %s are allowed.", formatBytes(len(value)), count(keep.MaxValue))})
	}
	if len(v.Errors) > 0 {
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if !c.form.has("anyway") {
		if v.Warnings = warnings(v.Name, value, v.New); len(v.Warnings) > 0 {
			return c.show(http.StatusUnprocessableEntity, v)
		}
	}
	out, err := c.keep.ChangeSince(c.ctx(), c.caller, c.org, keep.Change{Set: map[string]string{v.Name: value}}, v.Version)
	if errors.Is(err, keep.ErrSecretChanged) {
		return c.showConflict(v)
	}
	if err != nil {
		return c.showError(v, "", "Not saved: ", err)
	}
	if !c.caller.ReadsSecrets(c.org) {
		return c.redirect(c.orgPath("/secrets?done=set"))
	}
	ref, err := c.keep.References(c.ctx(), c.caller, c.org)
	if err != nil {
		return err
	}
	word := "changed"
	switch {
	case !out.Changed:
		word = "same"
	case v.New && v.Version == 0:
		word = "added"
	}
	return c.redirect(c.orgPath("/secrets/" + ref(v.Name) + "?done=" + word))
}

// showConflict shows the form again with what somebody else changed meanwhile.
// Saving it once more replaces that.
func (c *call) showConflict(v *editView) error {
	err := c.keep.ViewSecrets(c.ctx(), c.caller, "secrets.history", c.org, []string{v.Name}, func(s *keep.SecretsView) error {
		history, err := s.History(v.Name)
		if err != nil {
			return err
		}
		last := history[0]
		v.Ref, v.Conflict = s.Reference()(v.Name), &conflict{last, authorOf(last), s.Current() + 1}
		if v.Version = last.Version; last.Removed {
			v.Version = 0
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.show(http.StatusConflict, v)
}

// warnings names what is allowed in a secret but often a mistake. Nothing is ever
// repaired silently.
func warnings(name, value string, isNew bool) (list []string) {
	add := func(is bool, text string) {
		if is {
			list = append(list, text)
		}
	}
	hidden := func(s string) string {
		var codes []string
		for _, p := range visible(s) {
			if p.Code != "" && p.Code != "U+000A" && p.Code != "U+0020" && p.Code != "U+0009" && p.Code != "U+000D" {
				codes = append(codes, p.Code)
			}
		}
		if len(codes) > 5 {
			codes = append(codes[:5], "…")
		}
		return strings.Join(codes, ", ")
	}
	if isNew {
		add(strings.TrimSpace(name) != name, "The name has white space at an end.")
		add(strings.ContainsRune(strings.TrimSpace(name), ' '), "The name has a space in it.")
		add(strings.Contains(name, "="), "The name has an equals sign in it. Is a part of it the value?")
		add(looksLikeValue(name), "The name looks like a value. Names aren’t hidden on pages and in the audit log.")
		if codes := hidden(name); codes != "" {
			list = append(list, "The name has characters that can’t be seen: "+codes+".")
		}
	}
	add(value == "", "The value is empty.")
	end := strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	multi := strings.Contains(end, "\n")
	add(value != "" && strings.TrimSpace(value) == "", "The value is only white space.")
	if strings.TrimSpace(value) != "" {
		add(strings.TrimLeftFunc(value, unicode.IsSpace) != value, "The value begins with white space.")
		add(strings.TrimRightFunc(end, unicode.IsSpace) != end, "The value ends with white space.")
		add(end != value && !multi, "The value is one line and ends with a line break.")
	}
	if codes := hidden(value); codes != "" {
		list = append(list, "The value has characters that can’t be seen: "+codes+".")
	}
	return list
}

var valueLike = regexp.MustCompile(`^(-----BEGIN|eyJ|gh[pousr]_|xox[bp]-|AKIA|sk-)|^[A-Za-z0-9+/_-]{40,}={0,2}$`)

func looksLikeValue(name string) bool {
	return valueLike.MatchString(name) && (len(name) < 40 || strings.ContainsAny(name, "0123456789"))
}
