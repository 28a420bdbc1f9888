package vaultkv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Limits on a request's body: for a change of secrets, and for all others.
const (
	maxBody      = 8 << 20
	maxSmallBody = 64 << 10
)

// fields are the members of a request's body, by exact name; encoding/json
// would accept DATA for data.
type fields map[string]json.RawMessage

// fields reads the body, a JSON object whatever the Content-Type. An empty
// body has no fields.
func (c *call) fields() (fields, error) { return c.readFields(maxSmallBody) }

func (c *call) readFields(limit int64) (fields, error) {
	body, err := httpapi.ReadBody(c.w, c.r, limit)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	return parseFields(body)
}

// fieldsOfWriter is fields for a change of the organization's secrets. Callers
// who may not make it are refused before the body is read.
func (c *call) fieldsOfWriter() (fields, error) {
	org, err := c.organization()
	if err != nil {
		return nil, err
	}
	if !c.may(acl.Write, org) {
		if _, err := c.keep.Change(c.r.Context(), c.caller, org, keep.Change{}); err != nil {
			return nil, err
		}
	}
	return c.readFields(maxBody)
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

// jsonProblem describes an error in a document without quoting the document.
func jsonProblem(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("invalid after %d bytes", syntax.Offset)
	}
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case kind:
		return "an object is wanted"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return err.Error() // from httpapi, whose messages are fixed
}

// warnUnknown returns Vault's warning about unknown fields, if there are any.
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

// warnReplaced returns Vault's warning that the path, not the body, names the
// document.
func (f fields) warnReplaced() []string {
	if _, given := f["path"]; !given {
		return nil
	}
	return []string{"Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [path]"}
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// object reads an object field. It returns nil if the field is absent, null or
// an empty array.
func (f fields) object(name string) (fields, error) {
	raw, ok := f[name]
	if !ok || isNull(raw) || string(raw) == "[]" {
		return nil, nil
	}
	return asObject(name, raw)
}

func asObject(name string, raw json.RawMessage) (fields, error) {
	var out fields
	if raw[0] != '{' || json.Unmarshal(raw, &out) != nil {
		return nil, wrongField(name, "an object is wanted")
	}
	return out, nil
}

// content is the data of a write.
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
	if raw, given := f["version"]; given { // has no effect in a write
		if _, err := parseInt(raw); err != nil {
			return content{}, wrongField("version", err)
		}
	}
	out.warnings = append(warnUnknown(f, "data", "options", "version", "path"), f.warnReplaced()...)
	return out, nil
}

func notString(name string) error {
	return invalid(fmt.Sprintf("the value of secret %q must be a string", name))
}

// cas reads the check-and-set parameter, nil if there is none.
func (f fields) cas() (*uint64, error) {
	raw, ok := f["cas"]
	if !ok {
		return nil, nil
	}
	cas, err := parseCAS(raw)
	if err != nil {
		return nil, invalid("error parsing check-and-set parameter")
	}
	return cas, nil
}

// parseCAS reads a version number. A negative one matches no version.
func parseCAS(raw json.RawMessage) (*uint64, error) {
	n, err := parseInt(raw)
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return new(uint64(math.MaxUint64)), nil
	}
	return new(uint64(n)), nil
}

var errNumber = errors.New("a whole number is wanted")

// parseInt reads what Vault accepts as a whole number: a number, a string with
// one in Go's syntax, true and false as 1 and 0; null and "" are 0.
func parseInt(raw json.RawMessage) (int64, error) {
	text := string(raw)
	switch text[0] {
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, errNumber
		}
		return parseNumber(text)
	case 'n', 'f':
		return 0, nil
	case 't':
		return 1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// parseNumber reads a whole number in Go's syntax, "" as 0.
func parseNumber(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// versions reads the list of versions to delete, undelete or destroy: an
// array, or what Vault accepts as one, a single number or a comma-separated
// string. Numbers out of range are treated as versions that don't exist.
func (f fields) versions() ([]uint64, error) {
	raw, ok := f["versions"]
	var list []json.RawMessage
	switch {
	case !ok || isNull(raw) || string(raw) == "{}":
	case raw[0] == '[':
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, badVersions()
		}
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, badVersions()
		}
		return versionsIn(text)
	default:
		list = []json.RawMessage{raw}
	}
	out := make([]uint64, len(list))
	for i, raw := range list {
		n, err := parseInt(raw)
		if err != nil {
			return nil, badVersions()
		}
		out[i] = uint64(max(n, 0))
	}
	return out, nil
}

func versionsIn(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	var out []uint64
	for part := range strings.SplitSeq(text, ",") {
		n, err := parseNumber(part)
		if err != nil {
			return nil, badVersions()
		}
		out = append(out, uint64(max(n, 0)))
	}
	return out, nil
}

func badVersions() error {
	return wrongField("versions", "a list of version numbers is wanted")
}

// settings reads the body of a metadata write or patch. null resets a field to
// its default, except delete_version_after, which it leaves alone; in a patch,
// custom_metadata is merged.
func (f fields) settings(patch bool) (keep.SettingsUpdate, error) {
	var u keep.SettingsUpdate
	for _, name := range slices.Sorted(maps.Keys(f)) { // sorted, so that the first error is deterministic
		raw := f[name]
		var err error
		switch name {
		case "max_versions":
			u.MaxVersions, err = parseCount(raw)
		case "cas_required":
			u.CASRequired, err = parseBool(raw)
		case "metadata_cas_required":
			u.MetadataCASRequired, err = parseBool(raw)
		case "metadata_cas":
			u.MetadataCAS, err = parseCAS(raw)
		case "delete_version_after":
			if !isNull(raw) {
				u.DeleteVersionAfter, err = parseDuration(raw)
			}
		case "custom_metadata":
			err = f.custom(patch, &u)
		}
		if err != nil {
			return u, wrongField(name, err)
		}
	}
	return u, nil
}

func (f fields) custom(patch bool, u *keep.SettingsUpdate) error {
	given, err := f.object("custom_metadata")
	if err != nil {
		return errors.New("an object is wanted")
	}
	if !patch || isNull(f["custom_metadata"]) {
		u.Custom = make(map[string]string, len(given))
	} else {
		u.CustomPatch = make(map[string]*string, len(given))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value, err := customValue(given[name], patch)
		if err != nil {
			return fmt.Errorf("the value of %q must be a string", name)
		}
		if !patch {
			u.Custom[name] = *value
		} else {
			u.CustomPatch[name] = value
		}
	}
	return nil
}

// customValue reads a value of custom_metadata. In a patch it is a string or
// null. Otherwise Vault converts numbers and booleans to strings, and null to
// "", which it then rejects for its length.
func customValue(raw json.RawMessage, patch bool) (*string, error) {
	var value *string
	err := json.Unmarshal(raw, &value)
	if patch || (err == nil && value != nil) {
		return value, err
	}
	var text string
	switch raw[0] {
	case 'n':
	case 't':
		text = "1"
	case 'f':
		text = "0"
	case '[', '{', '"':
		return nil, errors.New("a string is wanted")
	default:
		text = string(raw)
	}
	return &text, nil
}

func parseCount(raw json.RawMessage) (*int, error) {
	n, err := parseInt(raw)
	if err == nil && (n < 0 || n > math.MaxInt32) {
		err = errors.New("out of range")
	}
	return new(int(n)), err
}

// parseBool reads what Vault accepts as a boolean: also 1 and 0, and strings
// with these in Go's syntax; null and "" are false.
func parseBool(raw json.RawMessage) (*bool, error) {
	text := string(raw)
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
	}
	var on bool
	if text != "" && text != "null" {
		var err error
		if on, err = strconv.ParseBool(text); err != nil {
			return nil, errors.New("true or false is wanted")
		}
	}
	return &on, nil
}

// maxDuration is longer than any secret lives, and short enough to be added to
// any time.
const maxDuration = 100 * 365 * 24 * time.Hour

var errDuration = errors.New("a duration such as 90s, 12h or 30d is wanted")

// parseDuration reads seconds, as a number or a string, or a string with Go's
// units or d for days. It returns nil for null and "", and ignores fractions
// of a second.
func parseDuration(raw json.RawMessage) (*time.Duration, error) {
	text := string(raw)
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, errDuration
		}
	}
	if text == "" || text == "null" {
		return inSeconds(0)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return inSeconds(n)
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil {
			return nil, errDuration
		}
		return inSeconds(n * 24 * 60 * 60)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, errDuration
	}
	return inSeconds(int64(math.Floor(d.Seconds())))
}

func inSeconds(n int64) (*time.Duration, error) {
	if n < 0 || n > int64(maxDuration/time.Second) {
		return nil, errDuration
	}
	return new(time.Duration(n) * time.Second), nil
}
