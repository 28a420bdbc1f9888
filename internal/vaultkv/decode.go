package vaultkv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// How long a request's body may be: of known callers, and of those whom nobody
// knows.
const (
	maxBody     = 8 << 20
	maxOpenBody = 64 << 10
)

// fields are the members of a request's body. They are picked by their exact
// names, where encoding/json would take DATA for data.
type fields map[string]json.RawMessage

// fields reads the body, a JSON object whatever the Content-Type says. An
// empty body has no fields.
func (c *call) fields() (fields, error) {
	limit := int64(maxBody)
	if c.caller.User == 0 {
		limit = maxOpenBody
	}
	body, err := httpapi.ReadBody(c.w, c.r, limit)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	return parseFields(body)
}

func parseFields(body []byte) (fields, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var f fields
	if err := httpapi.Decode(body, &f); err != nil {
		return nil, invalid("error parsing JSON: " + jsonProblem(err))
	}
	return f, nil
}

// jsonProblem says what is wrong with a document without repeating any of it.
func jsonProblem(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("invalid after %d bytes", syntax.Offset)
	case errors.As(err, &kind):
		return "an object is wanted"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return err.Error() // of httpapi, which says fixed texts
}

// patchFields reads the body of a PATCH, which must say that it is a merge
// patch, since other kinds of patches would mean something else.
func (c *call) patchFields() (fields, error) {
	const mergePatch = "application/merge-patch+json"
	given := c.r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		return nil, invalid(err.Error())
	}
	if kind != mergePatch {
		return nil, &statusError{http.StatusUnsupportedMediaType, fmt.Sprintf("PATCH requires Content-Type of %s, provided %s", mergePatch, given)}
	}
	return c.fields()
}

// warnUnknown returns Vault's warning about fields that are not among those
// known, if there are any.
func warnUnknown[T any](given map[string]T, known ...string) []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Endpoint ignored these unrecognized parameters: %v", unknown)}
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// object reads a field that holds an object, nil if it is absent or null.
func (f fields) object(name string) (fields, error) {
	raw, ok := f[name]
	if !ok || isNull(raw) {
		return nil, nil
	}
	return asObject(name, raw)
}

func asObject(name string, raw json.RawMessage) (fields, error) {
	var out fields
	if raw[0] != '{' || json.Unmarshal(raw, &out) != nil {
		return nil, invalid(fmt.Sprintf("error converting input for field %q: an object is wanted", name))
	}
	return out, nil
}

// content is what a write is to put into a document.
type content struct {
	set      map[string]string
	remove   []string // sorted
	cas      *uint64
	warnings []string
}

// content reads the body of a data write. In a patch, null removes a name.
func (f fields) content(patch bool) (content, error) {
	raw, ok := f["data"]
	if !ok {
		return content{}, invalid("no data provided")
	}
	if isNull(raw) {
		return content{}, invalid("no data provided: null would remove every secret")
	}
	data, err := asObject("data", raw)
	if err != nil {
		return content{}, err
	}
	out := content{set: make(map[string]string, len(data))}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		switch value := data[name]; {
		case value[0] == '"':
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return content{}, notString(name)
			}
			out.set[name] = s
		case patch && isNull(value):
			out.remove = append(out.remove, name)
		default:
			return content{}, notString(name)
		}
	}
	options, err := f.object("options")
	if err != nil {
		return content{}, err
	}
	if out.cas, err = options.cas(); err != nil {
		return content{}, err
	}
	out.warnings = append(warnUnknown(f, "data", "options", "version"), warnUnknown(options, "cas", "method")...)
	return out, nil
}

func notString(name string) error {
	return invalid(fmt.Sprintf("the value of secret %q must be a string", name))
}

// cas reads the check-and-set parameter as Vault does: a number, or a string
// with one; null and "" stand for 0. A negative number fits no version.
func (f fields) cas() (*uint64, error) {
	raw, ok := f["cas"]
	if !ok {
		return nil, nil
	}
	n, err := parseInt(raw)
	if err != nil {
		return nil, invalid("error parsing check-and-set parameter")
	}
	cas := uint64(math.MaxUint64)
	if n >= 0 {
		cas = uint64(n)
	}
	return &cas, nil
}

var errNumber = errors.New("a whole number is wanted")

// parseInt reads a whole number or a string with one; null and "" are 0.
func parseInt(raw json.RawMessage) (int64, error) {
	text := string(raw)
	switch text[0] {
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, errNumber
		}
		if text == "" {
			return 0, nil
		}
	case 'n':
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// versions reads the list of versions to delete, undelete or destroy: an
// array, or what Vault takes for one, a single number or a string with commas.
func (f fields) versions() ([]uint64, error) {
	raw, ok := f["versions"]
	var list []json.RawMessage
	switch {
	case !ok || isNull(raw):
	case raw[0] == '[':
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, badVersions()
		}
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, badVersions()
		}
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
			list = append(list, json.RawMessage(part))
		}
	default:
		list = []json.RawMessage{raw}
	}
	if len(list) == 0 {
		return nil, invalid("no version number provided")
	}
	out := make([]uint64, len(list))
	for i, raw := range list {
		n, err := parseInt(raw)
		if err != nil || n < 0 || isNull(raw) {
			return nil, badVersions()
		}
		out[i] = uint64(n)
	}
	return out, nil
}

func badVersions() error {
	return invalid(`error converting input for field "versions": a list of version numbers is wanted`)
}

// settings reads the body of a metadata write or patch. A null sets a field
// back to its default; in a patch, custom_metadata is merged.
func (f fields) settings(patch bool) (keep.SettingsUpdate, []string, error) {
	var u keep.SettingsUpdate
	for _, name := range slices.Sorted(maps.Keys(f)) { // the first error is always the same
		raw := f[name]
		var err error
		switch name {
		case "max_versions":
			u.MaxVersions, err = parseCount(raw)
		case "cas_required":
			u.CASRequired, err = parseBool(raw)
		case "delete_version_after":
			u.DeleteVersionAfter, err = parseDuration(raw)
		case "custom_metadata":
			err = f.custom(patch, &u)
		case "metadata_cas":
			err = errors.New("not supported")
		case "metadata_cas_required":
			var on *bool
			if on, err = parseBool(raw); err == nil && *on {
				err = errors.New("not supported")
			}
		}
		if err != nil {
			return u, nil, invalid(fmt.Sprintf("error converting input for field %q: %v", name, err))
		}
	}
	return u, warnUnknown(f, "max_versions", "cas_required", "delete_version_after", "custom_metadata", "metadata_cas_required"), nil
}

func (f fields) custom(patch bool, u *keep.SettingsUpdate) error {
	given, err := f.object("custom_metadata")
	if err != nil {
		return errors.New("an object is wanted")
	}
	if !patch || given == nil {
		u.Custom = make(map[string]string, len(given))
	} else {
		u.CustomPatch = make(map[string]*string, len(given))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		var value *string
		if err := json.Unmarshal(given[name], &value); err != nil || (value == nil && !patch) {
			return fmt.Errorf("the value of %q must be a string", name)
		}
		if patch {
			u.CustomPatch[name] = value
		} else {
			u.Custom[name] = *value
		}
	}
	return nil
}

func parseCount(raw json.RawMessage) (*int, error) {
	n, err := parseInt(raw)
	if err == nil && (n < 0 || n > math.MaxInt32) {
		err = errors.New("out of range")
	}
	count := int(n)
	return &count, err
}

// parseBool reads true or false, also as a string; null is false.
func parseBool(raw json.RawMessage) (*bool, error) {
	text := string(raw)
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
	}
	var on bool
	switch text {
	case "true":
		on = true
	case "false", "null", "":
	default:
		return nil, errors.New("true or false is wanted")
	}
	return &on, nil
}

// maxDuration is longer than anybody keeps a secret, and short enough to be
// added to any time.
const maxDuration = 100 * 365 * 24 * time.Hour

var errDuration = errors.New("a duration such as 90s, 12h or 30d is wanted")

// parseDuration reads seconds, as a number or a string, or a string with
// units: those of Go, and d for days. null and "" are none.
func parseDuration(raw json.RawMessage) (*time.Duration, error) {
	if n, err := parseInt(raw); err == nil {
		return inSeconds(n)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, errDuration
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil {
			return nil, errDuration
		}
		return inSeconds(n * 24 * 60 * 60)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDuration {
		return nil, errDuration
	}
	return &d, nil
}

func inSeconds(n int64) (*time.Duration, error) {
	if n < 0 || n > int64(maxDuration/time.Second) {
		return nil, errDuration
	}
	d := time.Duration(n) * time.Second
	return &d, nil
}
