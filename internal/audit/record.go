package audit

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/jsontext"
)

// The outcomes of an access.
const (
	Allowed = "allowed"
	Refused = "refused" // the caller lacks permission
	Failed  = "failed"  // permitted, but it failed
)

// Record describes an access: who did what, and with which outcome. It
// contains only metadata: never a value, a token or a password. Empty fields
// except ID, Time, Action and Outcome are omitted from the line.
type Record struct {
	ID      ID        `json:"id"`
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`         // for example "secrets.write"
	Outcome string    `json:"outcome"`        // Allowed, Refused or Failed
	Code    string    `json:"code,omitempty"` // the error's code, unless allowed

	// IDs of the organization, the caller and the credential.
	Organization string `json:"organization,omitempty"`
	User         string `json:"user,omitempty"`
	Token        string `json:"token,omitempty"`
	Session      string `json:"session,omitempty"`

	Protocol string `json:"protocol,omitempty"`
	Remote   string `json:"remote,omitempty"`  // the client's address
	Request  string `json:"request,omitempty"` // the request's ID
	Trace    string `json:"trace,omitempty"`   // the trace ID

	Version uint64   `json:"version,omitempty"` // of the organization's secrets, created or read
	Names   []string `json:"names,omitempty"`   // secrets read or set
	Removed []string `json:"removed,omitempty"` // secrets deleted
	Target  string   `json:"target,omitempty"`  // the ID of any other object
	Called  string   `json:"called,omitempty"`  // the sealed name of the object that was created or deleted
	Count   uint64   `json:"count,omitempty"`   // number of equal accesses that share this record, if more than one
	Detail  string   `json:"detail,omitempty"`

	// TakenOver lists records of this server's that another one, the Target, has
	// taken over, so that this log may have them a second time.
	TakenOver []ID `json:"taken_over,omitempty"`
	// For is the server whose record this is, if another one took it over.
	For string `json:"for,omitempty"`

	// Stranger means that the caller had no valid credential. It is not part
	// of the line.
	Stranger bool `json:"-"`
}

// Append appends the record as a JSON object on one line, for [Log.Append].
// Whatever bytes the strings contain, the result is valid JSON and printable:
// invalid UTF-8 becomes U+FFFD, and unprintable characters are escaped, so a
// secret's name cannot control the terminal that shows the log.
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, bodyStart...)
	dst = hex.AppendEncode(dst, r.ID[:])
	dst = append(dst, `","time":"`...)
	dst = appendTime(dst, r.Time)
	dst = append(dst, `","action":`...)
	dst = jsontext.AppendPrintable(dst, r.Action)
	dst = append(dst, `,"outcome":`...)
	dst = jsontext.AppendPrintable(dst, r.Outcome)
	dst = appendField(dst, `,"code":`, r.Code)
	dst = appendField(dst, `,"organization":`, r.Organization)
	dst = appendField(dst, `,"user":`, r.User)
	dst = appendField(dst, `,"token":`, r.Token)
	dst = appendField(dst, `,"session":`, r.Session)
	dst = appendField(dst, `,"protocol":`, r.Protocol)
	dst = appendField(dst, `,"remote":`, r.Remote)
	dst = appendField(dst, `,"request":`, r.Request)
	dst = appendField(dst, `,"trace":`, r.Trace)
	if r.Version != 0 {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendUint(dst, r.Version, 10)
	}
	dst = appendList(dst, `,"names":`, r.Names)
	dst = appendList(dst, `,"removed":`, r.Removed)
	dst = appendField(dst, `,"target":`, r.Target)
	dst = appendField(dst, `,"called":`, r.Called)
	if r.Count != 0 {
		dst = append(dst, `,"count":`...)
		dst = strconv.AppendUint(dst, r.Count, 10)
	}
	dst = appendField(dst, `,"detail":`, r.Detail)
	for i, id := range r.TakenOver {
		if i == 0 {
			dst = append(append(dst, takenField...), '"')
		} else {
			dst = append(dst, `","`...)
		}
		dst = hex.AppendEncode(dst, id[:])
	}
	if len(r.TakenOver) > 0 {
		dst = append(dst, `"]`...)
	}
	dst = appendField(dst, forField, r.For)
	return append(dst, '}')
}

// takenField starts the list of records that another server took over.
const takenField = `,"taken_over":[`

// forField is the last field of a record that was taken over, so that the record
// without it is what its own server wrote.
const forField = `,"for":`

// TakeOver returns a record that another server made, as the one that took it
// over logs it. server is the other one's ID, of digits and letters.
func TakeOver(body []byte, server string) []byte {
	if _, taken := cutFor(body); taken {
		return body // its server stays the same
	}
	return append(append(append(append(bytes.Clone(body[:len(body)-1]), forField...), '"'), server...), '"', '}')
}

// cutFor returns the record as its own server wrote it, and whether another one has
// taken it over. The field is the only place where the text can end a record: in a
// string, each quotation mark would be escaped.
func cutFor(body []byte) (own []byte, taken bool) {
	i := bytes.LastIndex(body, []byte(forField))
	if i < 0 || bytes.IndexByte(body[i+len(forField)+1:], '"') != len(body)-i-len(forField)-3 {
		return body, false
	}
	return append(bytes.Clone(body[:i]), '}'), true
}

// Object returns the ID of the object that Called is the name of.
func (r *Record) Object() string { return cmp.Or(r.Target, r.Organization) }

// namesInAll ends the Detail of a record that does not have all names.
const namesInAll = " names in all"

// LimitNames removes names until each list has at most most, if there are more
// altogether, and notes their number in Detail.
func (r *Record) LimitNames(most int) {
	n := len(r.Names) + len(r.Removed)
	if n <= most {
		return
	}
	r.Names, r.Removed = r.Names[:min(len(r.Names), most)], r.Removed[:min(len(r.Removed), most)]
	r.Detail = strconv.Itoa(n) + namesInAll
}

// lacksNames reports whether LimitNames removed names.
func (r *Record) lacksNames() bool { return strings.HasSuffix(r.Detail, namesInAll) }

// appendTime writes UTC. RFC 3339 years have four digits; any other year means
// a broken clock and is written as year 1.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Time{}
	}
	return t.AppendFormat(dst, time.RFC3339Nano)
}

func appendField(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, key...)
	return jsontext.AppendPrintable(dst, value)
}

func appendList(dst []byte, key string, values []string) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(dst, key...)
	for i, v := range values {
		if i == 0 {
			dst = append(dst, '[')
		} else {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendPrintable(dst, v)
	}
	return append(dst, ']')
}

// parseRecord parses an object that starts with the given ID. It ignores unknown fields,
// so that an older program can read a newer one's log.
func parseRecord(object []byte, id ID) (Record, error) {
	var r Record
	if err := json.Unmarshal(object, &r); err != nil {
		return Record{}, fmt.Errorf("audit: read record: %w", err)
	}
	r.ID = id // a second "id" in the object would have won
	r.Time = r.Time.UTC()
	if y := r.Time.Year(); y < 0 || y > 9999 {
		return Record{}, errors.New("audit: read record: time is out of range")
	}
	if len(r.Names) == 0 {
		r.Names = nil
	}
	if len(r.Removed) == 0 {
		r.Removed = nil
	}
	if len(r.TakenOver) == 0 {
		r.TakenOver = nil
	}
	return r, nil
}
