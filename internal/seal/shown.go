package seal

import (
	"encoding/json"
	"log/slog"
)

// shown is all that fmt, log/slog and encoding/json reveal of the value that
// embeds it.
//
// These methods do not protect a value in an unexported field of another
// struct, which fmt prints by reflection, and a verb that is invalid for text,
// for which fmt prints the fields and what they point to. So a type that
// embeds shown keeps its keys in a closure or behind two pointers, of which
// fmt prints only the address.
type shown struct {
	text string
}

// String describes the value without anything secret.
func (s shown) String() string { return s.text }

// GoString describes the value without anything secret, for the verb %#v.
func (s shown) GoString() string { return s.text }

// LogValue describes the value without anything secret, for log/slog.
func (s shown) LogValue() slog.Value { return slog.StringValue(s.text) }

// MarshalJSON describes the value without anything secret.
func (s shown) MarshalJSON() ([]byte, error) { return json.Marshal(s.text) }
