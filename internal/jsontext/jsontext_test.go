package jsontext

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"unicode"
	"unicode/utf8"
)

// checkString compares AppendString with encoding/json.
func checkString(tb testing.TB, s string) {
	tb.Helper()
	want, err := json.Marshal(s)
	if err != nil {
		tb.Fatal(err)
	}
	if got := AppendString([]byte("x"), s); string(got) != "x"+string(want) {
		tb.Fatalf("%q: got %s, want %s", s, got[1:], want)
	}
	checkPrintable(tb, s)
}

// checkPrintable compares what AppendPrintable's result means.
func checkPrintable(tb testing.TB, s string) {
	tb.Helper()
	text := AppendPrintable(nil, s)
	if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		tb.Fatalf("%q: %q is not printable", s, text)
	}
	var got string
	if err := json.Unmarshal(text, &got); err != nil || got != string([]rune(s)) {
		tb.Fatalf("%q: %s means %q, error %v", s, text, got, err)
	}
}

func TestAppendPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"a<b>&é😀":          `"a<b>&é😀"`,
		"\n\t\"\\":         `"\n\t\"\\"`,
		"\x1b[2J\x7f":      `"\u001b[2J\u007f"`,
		"\u202e\U000e0001": `"\u202e\udb40\udc01"`,
		"\xff":             `"\ufffd"`,
	} {
		if got := string(AppendPrintable(nil, s)); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for i := range 256 {
		checkString(t, string([]byte{'x', byte(i), 'y'}))
	}
	alphabet := []string{"a", "Z", " ", `"`, `\`, "/", "<", "&", "\n", "\r", "\t", "\b", "\f", "\x00", "\x1f", "\x7f", "é", "\u2028", "\u2029", "😀", "\ufffd", "\xff", "\xc3", "\xed\xa0\x80"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		s := ""
		for range r.IntN(12) {
			s += alphabet[r.IntN(len(alphabet))]
		}
		checkString(t, s)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "\x00\x1f\x7f", "\u2028😀", "\xff\xfe", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkString(t, s) })
}
