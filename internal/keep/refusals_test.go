package keep_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// longestRefusal is the maximum size of a refusal's record.
const longestRefusal = 10_000

// TestRefusalsAreSmall checks that the size of a refusal's record is bounded, whatever
// the request contains.
func TestRefusalsAreSmall(t *testing.T) {
	many := keep.Change{Set: map[string]string{}}
	for i := range 5000 {
		many.Set[fmt.Sprintf("\x00%d%s", i, strings.Repeat("\xff", 1000))] = ""
		many.Remove = append(many.Remove, fmt.Sprintf("\x01%d%s", i, strings.Repeat("\x02", 1000)))
	}
	long := set(strings.Repeat("\x00", 3_000_000), "")
	for _, hashed := range []bool{false, true} {
		k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) { c.HashAuditNames = hashed }})
		reader := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
		caller := k.MustCaller(t, keep.InfluxDB, reader.Value)
		caller.Origin.Request, caller.Origin.Remote = strings.Repeat("\n", 100_000), strings.Repeat("é", 100_000)
		for name, change := range map[string]keep.Change{"many names": many, "a long name": long} {
			_, from := k.AuditRecords(t, 0)
			if _, err := k.Change(t.Context(), caller, k.Org, change); err == nil {
				t.Fatalf("%s: a reader wrote", name)
			}
			records, to := k.AuditRecords(t, from)
			if len(records) != 1 || records[0].Outcome != audit.Refused || to-from > longestRefusal {
				t.Errorf("%s: a refusal left %d records of %d bytes", name, len(records), to-from)
			} else if name == "many names" && !strings.Contains(records[0].Detail, "10000 names") {
				t.Errorf("%s: the detail is %q", name, records[0].Detail)
			}
		}
	}
}

// TestRefusalsShareRecords checks that a flood of refusals, of strangers and of a token
// without permission, is counted exactly and takes little space, and that the first ones
// have their own records.
func TestRefusalsShareRecords(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) { c.SingleRefusals = 0 }})
	switchedOff := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	reader := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	read := k.MustCaller(t, keep.InfluxDB, reader.Value)
	no := false
	if _, err := k.UpdateToken(t.Context(), k.Operator(t, keep.InfluxDB), switchedOff.ID, keep.TokenUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	off := k.MustCaller(t, keep.InfluxDB, switchedOff.Value)
	_, from := k.AuditRecords(t, 0)
	const times = 1000
	refused := func(err error) {
		t.Helper()
		if err == nil {
			t.Fatal("a stranger was allowed")
		}
	}
	for i := range times {
		origin := keeptest.Origin(keep.InfluxDB)
		origin.Remote = fmt.Sprintf("2001:db8::%x", i%100)
		_, err := k.Authenticate(t.Context(), origin, fmt.Sprint("wrong", i))
		refused(err)
		_, err = k.Document(t.Context(), keep.Anonymous(origin), keep.ID(i+1), 0)
		refused(err)
		_, err = k.Document(t.Context(), off, k.Org, 0)
		refused(err)
		_, err = k.Change(t.Context(), read, k.Org, set("x", "y"))
		refused(err)
	}
	k.Close(t) // records the pending counts
	records, to := k.AuditRecords(t, from)
	var strangers, others, single uint64
	for _, r := range records {
		switch {
		case r.Token == reader.ID.String():
			others += max(1, r.Count)
			if r.Count == 0 {
				single++
			}
			if r.Organization != k.Org.String() {
				t.Errorf("a refusal of a known token is recorded for organization %q", r.Organization)
			}
		case r.Outcome == audit.Refused:
			strangers += max(1, r.Count)
		}
	}
	if strangers != 3*times || others != times {
		t.Errorf("%d refusals of strangers are recorded, want %d; %d of a token, want %d", strangers, 3*times, others, times)
	}
	if single < 20 {
		t.Errorf("%d refusals of a token have their own records", single)
	}
	if bytes := to - from; bytes > 60_000 {
		t.Errorf("%d bytes were written", bytes)
	}
}

// brokenFS fails every write to the audit log while it is broken.
type brokenFS struct {
	audit.FS
	broken atomic.Bool
}

func (b *brokenFS) Open(path string, flag int) (audit.File, error) {
	f, err := b.FS.Open(path, flag)
	return brokenFile{f, b}, err
}

type brokenFile struct {
	audit.File
	fs *brokenFS
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.fs.broken.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// TestUnrecordedRequests checks that requests that were refused because the audit log
// could not be written are counted later, and that recovery is noticed without a request.
func TestUnrecordedRequests(t *testing.T) {
	fs := &brokenFS{FS: audit.OS()}
	k := keeptest.New(t, &keeptest.Options{AuditFS: fs})
	op := k.Operator(t, keep.InfluxDB)
	_, from := k.AuditRecords(t, 0)
	fs.broken.Store(true)
	for range 30 {
		if _, err := k.SecretNames(t.Context(), op, k.Org); keep.CodeOf(err) != keep.CodeUnavailable {
			t.Fatalf("without an audit log the answer is %v", err)
		}
	}
	fs.broken.Store(false)
	for end := time.Now().Add(time.Minute); k.Writable() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a minute after the disk recovered, the audit log still can't be written")
		}
	}
	k.Close(t)
	records, _ := k.AuditRecords(t, from)
	var requests uint64
	outages := 0
	for _, r := range records {
		switch {
		case r.Outcome != audit.Failed || r.Code != string(keep.CodeUnavailable):
			t.Errorf("unexpected record %+v", r)
		case r.Action == "audit-log":
			outages++
		default:
			requests += r.Count
		}
	}
	if requests != 30 || outages != 1 {
		t.Errorf("%d requests and %d outages are recorded, want 30 and 1", requests, outages)
	}
}
