package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func fullRecord() Record {
	return Record{
		ID: ID{0: 0x68, 1: 0xe3, 15: 0x01}, Time: testTime, Action: "secrets.write", Outcome: Failed, Code: "internal error",
		Organization: "0a1b2c3d4e5f6071", User: "0b1b2c3d4e5f6071", Token: "0c1b2c3d4e5f6071", Session: "0d1b2c3d4e5f6071",
		Protocol: "influxdb", Remote: "192.0.2.7:51234", Request: "req-1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736",
		Version: 17, Names: []string{"db-password", "s3"}, Removed: []string{"old"}, Target: "0e1b2c3d4e5f6071", Called: "ann", Count: 3, Detail: "merged",
		TakenOver: []ID{{15: 2}, {15: 3}}, For: "0f1b2c3d4e5f6071",
	}
}

func TestRecordAppend(t *testing.T) {
	const start = `{"id":"00000000000000000000000000000000","time":"2026-03-01T09:30:00.5Z",`
	for _, tt := range []struct {
		name   string
		record Record
		want   string
	}{
		{"empty", Record{}, `{"id":"00000000000000000000000000000000","time":"0001-01-01T00:00:00Z","action":"","outcome":""}`},
		{"full", fullRecord(), `{"id":"68e30000000000000000000000000001","time":"2026-03-01T09:30:00.5Z","action":"secrets.write","outcome":"failed",` +
			`"code":"internal error","organization":"0a1b2c3d4e5f6071","user":"0b1b2c3d4e5f6071","token":"0c1b2c3d4e5f6071","session":"0d1b2c3d4e5f6071",` +
			`"protocol":"influxdb","remote":"192.0.2.7:51234","request":"req-1","trace":"4bf92f3577b34da6a3ce929d0e0e4736","version":17,` +
			`"names":["db-password","s3"],"removed":["old"],"target":"0e1b2c3d4e5f6071","called":"ann","count":3,"detail":"merged",` +
			`"taken_over":["00000000000000000000000000000002","00000000000000000000000000000003"],"for":"0f1b2c3d4e5f6071"}`},
		{"local time", Record{Time: testTime.In(time.FixedZone("", 3600))}, start + `"action":"","outcome":""}`},
		{"time outside RFC 3339", Record{Time: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)},
			`{"id":"00000000000000000000000000000000","time":"0001-01-01T00:00:00Z","action":"","outcome":""}`},
		{"quotes", Record{Time: testTime, Action: `a"b\c`, Outcome: "<&>"}, start + `"action":"a\"b\\c","outcome":"<&>"}`},
		{"control characters", Record{Time: testTime, Action: "\x00\n\r\t\x1b[2J\x7f"},
			start + `"action":"\u0000\n\r\t\u001b[2J\u007f","outcome":""}`},
		{"broken UTF-8", Record{Time: testTime, Action: "a\xff\xc3z"}, start + `"action":"a\ufffd\ufffdz","outcome":""}`},
		{"letters", Record{Time: testTime, Action: "Zähler 数据 🔑 \ufffd"}, start + `"action":"Zähler 数据 🔑 ` + "\ufffd" + `","outcome":""}`},
		{"characters that control a terminal", Record{Time: testTime, Action: "\u202e\u009b\u2028\U000e0041"},
			start + `"action":"\u202e\u009b\u2028\udb40\udc41","outcome":""}`},
		{"empty names", Record{Time: testTime, Names: []string{"", ""}}, start + `"action":"","outcome":"","names":["",""]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.record.Append(nil); string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestRecordAppendAgreesWithTags compares the hand-written encoder with the
// struct tags.
func TestRecordAppendAgreesWithTags(t *testing.T) {
	full := fullRecord()
	for i := range reflect.TypeFor[Record]().NumField() {
		field := reflect.TypeFor[Record]().Field(i)
		if field.Tag.Get("json") != "-" && reflect.ValueOf(full).Field(i).IsZero() {
			t.Fatalf("the full record lacks %s", field.Name)
		}
	}
	for _, r := range []Record{full, {}} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// asWritten returns the record that is read back after r was written.
func asWritten(r Record) Record {
	text := func(s string) string { return string([]rune(s)) } // U+FFFD for each invalid byte
	list := func(in []string) (out []string) {
		for _, s := range in {
			out = append(out, text(s))
		}
		return out
	}
	r.Time = r.Time.UTC()
	if y := r.Time.Year(); y < 0 || y > 9999 {
		r.Time = time.Time{}
	}
	r.Names, r.Removed = list(r.Names), list(r.Removed)
	for _, s := range []*string{
		&r.Action, &r.Outcome, &r.Code, &r.Organization, &r.User, &r.Token, &r.Session,
		&r.Protocol, &r.Remote, &r.Request, &r.Trace, &r.Target, &r.Detail,
	} {
		*s = text(*s)
	}
	return r
}

func FuzzRecord(f *testing.F) {
	requireSeeds(f)
	f.Fuzz(func(t *testing.T, id []byte, sec, nano int64, version uint64, a, b, c, d string) {
		r := Record{
			Time: time.Unix(sec, nano), Action: a, Outcome: b, Code: c, Organization: d, User: a, Token: b, Session: c,
			Protocol: d, Remote: a, Request: b, Trace: c, Version: version, Names: strings.Split(a, ","),
			Removed: strings.Split(b, ",")[1:], Target: c, Detail: d,
		}
		copy(r.ID[:], id)
		body := r.Append(nil)
		if !json.Valid(body) {
			t.Fatalf("not valid JSON: %q", body)
		}
		if !utf8.Valid(body) || bytes.ContainsFunc(body, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("unprintable: %q", body)
		}
		got, err := readRecord(body)
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if want := asWritten(r); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		line, _ := appendLine(nil, Checkpoint{Seq: version / 2}, body)
		if e, err := Parse(line); err != nil || e.Seq != version/2+1 || !reflect.DeepEqual(e.Record, got) {
			t.Fatalf("the line gives %+v, %v", e, err)
		}
	})
}

// requireSeeds fails if the committed inputs are missing: a fuzz test without
// inputs passes without testing anything.
func requireSeeds(f *testing.F) {
	f.Helper()
	seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", f.Name()))
	if err != nil || len(seeds) < 3 {
		f.Fatalf("only %d seeds (%v)", len(seeds), err)
	}
}
