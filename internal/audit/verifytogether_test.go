package audit

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerifyTogether(t *testing.T) {
	own := func(id byte) []byte {
		r := Record{ID: ID{15: id}, Time: testTime, Action: "secrets.write", Outcome: Allowed, Names: []string{`,"for":"x"}`}}
		return r.Append(nil)
	}
	taken := func(id byte) []byte { return TakeOver(own(id), "00000000000000a1") }
	gave := func(id byte, ids ...byte) []byte {
		r := Record{ID: ID{15: id}, Time: testTime, Action: "audit.taken-over", Outcome: Allowed, Target: "00000000000000b1"}
		for _, of := range ids {
			r.TakenOver = append(r.TakenOver, ID{15: of})
		}
		return r.Append(nil)
	}
	other := Record{ID: ID{15: 1}, Time: testTime, Action: "secrets.write", Outcome: Allowed, Names: []string{"other"}}
	for _, tt := range []struct {
		name    string
		logs    [][][]byte
		records uint64
		copies  uint64
		problem string
	}{
		{"separate", [][][]byte{{own(1), own(2)}, {own(3)}}, 3, 0, ""},
		{"taken over, its server lost", [][][]byte{{own(1)}, {taken(2)}}, 2, 0, ""},
		{"taken over and explained later", [][][]byte{{own(1), own(2), gave(3, 1, 2)}, {taken(1), taken(2)}}, 3, 2, ""},
		{"the other order", [][][]byte{{taken(1), taken(2)}, {own(1), own(2), gave(3, 1, 2)}}, 3, 2, ""},
		{"explained, but no copy", [][][]byte{{gave(3, 1)}, {taken(1)}}, 2, 0, ""},
		{"taken over twice", [][][]byte{{own(1), gave(3, 1)}, {taken(1), gave(4, 1)}, {taken(1)}}, 3, 2, ""},
		{"taken over and back", [][][]byte{{own(1), gave(3, 1), taken(1)}, {taken(1), gave(4, 1)}}, 3, 2, ""},
		{"not explained", [][][]byte{{own(1)}, {taken(1)}}, 0, 0, "neither log says"},
		{"explained for another", [][][]byte{{own(1), gave(3, 2)}, {taken(1)}}, 0, 0, "neither log says"},
		{"taken over twice, explained once", [][][]byte{{own(1), gave(3, 1)}, {taken(1)}, {taken(1)}}, 0, 0, "neither log says"},
		{"twice in one log", [][][]byte{{own(1), own(1)}}, 0, 0, "neither log says"},
		{"the other content", [][][]byte{{own(1), gave(3, 1)}, {TakeOver(other.Append(nil), "a1")}}, 0, 0, "ID of another record"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logs []string
			for _, bodies := range tt.logs {
				path := filepath.Join(t.TempDir(), "audit.log")
				log, err := Open(path, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, body := range bodies {
					if err := log.Append(body); err != nil {
						t.Fatal(err)
					}
				}
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				logs = append(logs, path)
			}
			report, err := VerifyTogether(t.Context(), logs)
			if tt.problem != "" {
				if !errors.As(err, new(*DamageError)) || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("error %v, want one with %q", err, tt.problem)
				}
				return
			}
			if err != nil || report.Records != tt.records || report.Copies != tt.copies || len(report.Logs) != len(logs) {
				t.Errorf("%+v, %v; want %d records and %d copies", report, err, tt.records, tt.copies)
			}
		})
	}
}

// TestTakenOverRecords checks that a record that was taken over is a record, and
// that its own server's can be told from it.
func TestTakenOverRecords(t *testing.T) {
	r := fullRecord()
	r.For = ""
	body := r.Append(nil)
	taken := TakeOver(body, "00000000000000a1")
	got, err := readRecord(taken)
	if err != nil || got.For != "00000000000000a1" {
		t.Errorf("%+v, %v", got, err)
	}
	if again := TakeOver(taken, "00000000000000b1"); string(again) != string(taken) {
		t.Errorf("taken over again, it is %s", again)
	}
	if own, ok := cutFor(taken); !ok || string(own) != string(body) {
		t.Errorf("its own server's is %s, want %s", own, body)
	}
	if own, ok := cutFor(body); ok || string(own) != string(body) {
		t.Errorf("a record that was not taken over became %s", own)
	}
}
