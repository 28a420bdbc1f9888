package seal

import (
	"encoding/json"
	"log/slog"
)

// shown is all that fmt, log/slog and encoding/json may say of the value that embeds it.
//
// These methods do not cover a value in an unexported field of someone else's struct, where fmt looks past them with
// reflection, nor a verb that makes no sense for text, for which fmt prints the fields and what they point to. So whoever
// embeds shown keeps key material in a function's closure or behind two pointers, of which fmt prints the address.
type shown struct {
	text string
}

// String names the value without anything secret.
func (s shown) String() string { return s.text }

// GoString names the value without anything secret, for the verb %#v.
func (s shown) GoString() string { return s.text }

// LogValue names the value without anything secret, for log/slog.
func (s shown) LogValue() slog.Value { return slog.StringValue(s.text) }

// MarshalJSON names the value without anything secret.
func (s shown) MarshalJSON() ([]byte, error) { return json.Marshal(s.text) }
