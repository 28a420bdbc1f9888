package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines returns log lines with records of these IDs.
func lines(ids ...string) []string {
	var all []string
	prev := strings.Repeat("0", 64)
	for i, id := range ids {
		line := fmt.Sprintf(`{"seq":%d,"prev":"%s","id":"%s"}`+"\n", i+1, prev, id)
		sum := sha256.Sum256([]byte(line))
		prev = hex.EncodeToString(sum[:])
		all = append(all, line)
	}
	return all
}

// TestAuditLog checks that the log is read once, across files, and that
// invalid lines are found.
func TestAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write := func(name string, lines ...string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(strings.Join(lines, "")); err != nil {
			t.Fatal(err)
		}
	}
	l := newAuditLog(path)
	want := func(ids string) {
		t.Helper()
		records, err := l.read()
		var got []string
		for _, r := range records {
			got = append(got, r.ID)
		}
		if err != nil || strings.Join(got, " ") != ids {
			t.Fatalf("read %q, %v, want %s", got, err, ids)
		}
		if err := l.next(); err != nil {
			t.Fatal(err)
		}
	}
	all := lines("a", "b", "c", "d", "e", "f", "g")
	want("")
	write(path, all[0])
	want("a")
	write(path, all[1])
	if err := os.Rename(path, path+"-20260102T030405.000000001Z"); err != nil {
		t.Fatal(err)
	}
	write(path, all[2:4]...)
	want("b c d")
	want("")
	want("")
	if names, err := filepath.Glob(path + "*"); err != nil || len(names) != 1 {
		t.Errorf("remaining files: %q, %v", names, err)
	}
	write(path, all[4])
	want("e")
	for name, next := range map[string]string{
		"missing line":     all[6],
		"duplicate line":   all[4],
		"another hash":     strings.Replace(all[5], `"prev":"`, `"prev":"0`, 1),
		"duplicate record": strings.Replace(all[5], `"id":"f"`, `"id":"e"`, 1),
		"partial line":     all[5][:len(all[5])-1],
		"something else":   "{}\n",
		"not JSON":         "x\n",
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(path, next)
		if records, err := l.read(); err == nil {
			t.Errorf("%s: read %d records", name, len(records))
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, all[5])
	want("f")
}
