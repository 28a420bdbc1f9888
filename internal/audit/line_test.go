package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const (
	goodID   = "68e30000000000000000000000000001"
	goodPrev = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	goodBody = `{"id":"` + goodID + `","time":"2026-03-01T09:30:00.5Z","action":"secrets.list","outcome":"allowed"}`
	goodLine = `{"seq":7,"prev":"` + goodPrev + `",` + `"id":"` + goodID + `","time":"2026-03-01T09:30:00.5Z","action":"secrets.list","outcome":"allowed"}`
)

func TestParse(t *testing.T) {
	for _, line := range []string{goodLine, goodLine + "\n"} {
		e, err := Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		want := Record{ID: ID{0: 0x68, 1: 0xe3, 15: 1}, Time: testTime, Action: "secrets.list", Outcome: Allowed}
		if e.Seq != 7 || e.Prev.String() != goodPrev || !reflect.DeepEqual(e.Record, want) {
			t.Errorf("got %+v", e)
		}
	}
}

// TestParseSecondID checks that the first ID counts, as in Recover.
func TestParseSecondID(t *testing.T) {
	other := `,"id":"00000000000000000000000000000000"}`
	e, err := Parse([]byte(goodLine[:len(goodLine)-1] + other))
	if err != nil || e.ID.String() != goodID {
		t.Errorf("Parse gives record %v, %v", e.ID, err)
	}
	r, err := readRecord([]byte(goodBody[:len(goodBody)-1] + other))
	if err != nil || r.ID.String() != goodID {
		t.Errorf("readRecord gives record %v, %v", r.ID, err)
	}
	if _, err := readRecord([]byte(goodLine)); err == nil {
		t.Error("a line was accepted as a record")
	}
}

func TestParseRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(goodLine, old, new, 1) }
	for name, line := range map[string]string{
		"nothing":                      "",
		"a newline":                    "\n",
		"an object":                    "{}",
		"two lines":                    goodLine + "\n" + goodLine,
		"a truncated line":             goodLine[:len(goodLine)-1],
		"text after it":                goodLine + " ",
		"text before it":               " " + goodLine,
		"number 0":                     replace("7", "0"),
		"no number":                    replace("7", ""),
		"a leading zero":               replace("7", "07"),
		"a signed number":              replace("7", "+7"),
		"a number with a fraction":     replace("7", "7.0"),
		"a number out of range":        replace("7", "18446744073709551616"),
		"a hash in capitals":           replace("9f86d", "9F86D"),
		"a short hash":                 replace("9f86d", "9f86"),
		"a hash with another letter":   replace("9f86d", "9f86g"),
		"an ID in capitals":            replace("68e3", "68E3"),
		"a short ID":                   replace("68e3", "68e"),
		"no ID":                        replace(`"id":"`+goodID+`",`, ""),
		"another order":                replace(`"time"`, `"time":"2026-03-01T09:30:00.5Z","id"`)[1:],
		"spaces":                       replace(`,"prev"`, `, "prev"`),
		"broken JSON":                  replace(`"action":`, `"action"`),
		"a number instead of a string": replace(`"secrets.list"`, `1`),
		"no time":                      replace("2026-03-01T09:30:00.5Z", "today"),
		"a time out of range":          replace("2026-03-01T09:30:00.5Z", "0000-01-01T00:00:00+01:00"),
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := Parse([]byte(line)); err == nil {
				t.Errorf("parsed %q as %+v", line, e)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	requireSeeds(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Parse(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatalf("parsed invalid JSON: %q", line)
		}
		// A parsed record can be written, and then parses to the same.
		again, _ := appendLine(nil, Checkpoint{Seq: e.Seq - 1, Hash: e.Prev}, e.Append(nil))
		e2, err := Parse(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if !reflect.DeepEqual(e, e2) {
			t.Fatalf("got  %+v\nwant %+v", e2, e)
		}
	})
}

func TestCheckBody(t *testing.T) {
	long := func(n int) string { return goodBody[:len(goodBody)-1] + strings.Repeat(" ", n-len(goodBody)) + "}" }
	for _, tt := range []struct {
		name string
		body string
		ok   bool
	}{
		{"good", goodBody, true},
		{"ID alone", `{"id":"` + goodID + `"}`, true},
		{"longest", long(MaxBody), true},
		{"too long", long(MaxBody + 1), false},
		{"nothing", "", false},
		{"newline", goodBody[:len(goodBody)-1] + "\n}", false},
		{"no end", goodBody[:len(goodBody)-1], false},
		{"a line", goodLine, false},
		{"another field first", `{"time":"","id":"` + goodID + `"}`, false},
		{"ID too long", `{"id":"` + goodID + `0","a":""}`, false},
		{"ID in capitals", `{"id":"` + strings.ToUpper(goodID) + `"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := checkBody([]byte(tt.body))
			if (err == nil) != tt.ok {
				t.Fatalf("got error %v", err)
			}
			if tt.ok && id.String() != goodID {
				t.Errorf("got ID %v", id)
			}
			l := mustOpen(t, logPath(t), nil)
			if err := l.Append([]byte(tt.body)); (err == nil) != tt.ok {
				t.Errorf("Append returns %v", err)
			}
			if l.Err() != nil {
				t.Error("an invalid record makes the log unavailable")
			}
		})
	}
}

// TestLineHash checks that sha256sum can verify the chain, as documented.
func TestLineHash(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 3)
	lines := bytes.SplitAfter(mustRead(t, path), []byte{'\n'})
	var prev Hash
	for i, line := range lines[:3] {
		e, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != uint64(i+1) || e.Prev != prev {
			t.Errorf("line %d: got number %d and hash %v, want hash %v", i+1, e.Seq, e.Prev, prev)
		}
		prev = sha256.Sum256(line)
	}
}

func TestCheckpointText(t *testing.T) {
	c := Checkpoint{Seq: 18446744073709551615, Hash: sha256.Sum256(nil)}
	text, err := c.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got Checkpoint
	if err := got.UnmarshalText(text); err != nil || got != c {
		t.Errorf("got %v, %v from %s", got, err, text)
	}
	for _, bad := range []string{"", ":", "7", "7:", ":" + goodPrev, "7:" + goodPrev[1:], "-7:" + goodPrev, "7:" + goodPrev + "0", "7:" + strings.ToUpper(goodPrev)} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as a checkpoint", bad)
		}
	}
	if got != c {
		t.Error("an invalid text changed the checkpoint")
	}
}
