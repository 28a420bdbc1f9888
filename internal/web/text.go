package web

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// moment is a time for a reader.
type moment struct {
	ISO      string // "" for the zero time
	Exact    string
	Relative string
}

const exactTime = "2006-01-02 15:04:05 UTC"

func momentOf(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format(exactTime), relative(t, now)}
}

// relative describes a time near now.
func relative(t, now time.Time) string {
	d := now.Sub(t)
	form := "%s ago"
	if d < 0 {
		d, form = -d, "in %s"
	}
	switch {
	case d < 10*time.Second && form != "in %s":
		return "moments ago"
	case d < time.Minute:
		return fmt.Sprintf(form, plural(int(d/time.Second), "second"))
	case d < time.Hour:
		return fmt.Sprintf(form, plural(int(d/time.Minute), "minute"))
	case d < 48*time.Hour:
		return fmt.Sprintf(form, plural(int(d/time.Hour), "hour"))
	case d < 60*24*time.Hour:
		return fmt.Sprintf(form, plural(int(d/(24*time.Hour)), "day"))
	}
	return t.UTC().Format("2006-01-02")
}

// count formats a number with separators.
func count(n int) string { return digits(fmt.Sprint(n)) }

func digits(s string) string {
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural formats a number of things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return count(n) + " " + thing
}

func formatBytes(n int) string { return plural(n, "byte") }

// formatSize formats a size on the disk.
func formatSize(n uint64) string {
	const mega = 1 << 20
	switch {
	case n < mega:
		return digits(fmt.Sprint((n+1023)/1024)) + " KiB"
	case n < 10*mega:
		return fmt.Sprintf("%.1f MiB", float64(n)/mega)
	}
	return digits(fmt.Sprint(n/mega)) + " MiB"
}

// options are the choices of a select, one of which may be selected.
func options(selected string, all ...string) []choice {
	out := make([]choice, len(all))
	for i, o := range all {
		out[i] = choice{o, o, o == selected}
	}
	return out
}

// sentence turns an error's message into a sentence.
func sentence(message string) string {
	if message == "" {
		return ""
	}
	r, size := utf8.DecodeRuneInString(message)
	message = string(unicode.ToUpper(r)) + message[size:]
	if !strings.HasSuffix(message, ".") {
		message += "."
	}
	return message
}

func tryAgain(after time.Duration) string {
	if after <= 0 {
		return "Try again in a moment."
	}
	return "Try again in " + plural(int((after+time.Second-1)/time.Second), "second") + "."
}

// namePart is a part of a name: text, or the code point of a character that can't
// be seen or that changes the order of others.
type namePart struct{ Text, Code string }

// visible splits a name so that no character of it is hidden.
func visible(name string) []namePart {
	var parts []namePart
	start := 0
	mark := func(at, size int, r rune) {
		if at > start {
			parts = append(parts, namePart{Text: name[start:at]})
		}
		parts = append(parts, namePart{Code: fmt.Sprintf("U+%04X", r)})
		start = at + size
	}
	for at, r := range name {
		size := utf8.RuneLen(r)
		if r == ' ' && at > 0 && at+1 < len(name) && name[at-1] != ' ' || !invisible(r) {
			continue
		}
		mark(at, size, r)
	}
	if start < len(name) {
		parts = append(parts, namePart{Text: name[start:]})
	}
	return parts
}

// plain reports whether a name consists of visible ASCII, so that it can stand in a
// line without an element of its own.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == ' ' && (i == 0 || i+1 == len(name) || name[i-1] == ' ') {
			return false
		}
	}
	return true
}

// invisible reports whether a character can't be seen by itself. That includes
// spaces.
func invisible(r rune) bool {
	switch r {
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u180b', '\u180c', '\u180d', '\u2800', '\u3164', '\uffa0':
		return true
	}
	return !unicode.IsGraphic(r) || unicode.IsSpace(r) || unicode.Is(unicode.Zs, r)
}
