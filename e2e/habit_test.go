package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// An influxd with --secret-store vault has one habit: it reads an organization's
// whole document, changes it, and writes it back with the version that it read. It
// doesn't retry.

// readDocument reads as influxd does. It also fails on answers that influxd must
// not get: a 404 with data makes every later request of influxd fail.
func (s *server) readDocument(token string) (data map[string]string, version int, err error) {
	status, answer, err := s.do(http.MethodGet, "/influxd/v1/secret/data/"+s.orgID, token, nil)
	if err != nil {
		return nil, 0, unanswered{err}
	}
	if status == http.StatusNotFound && string(answer) == "{\"errors\":[]}\n" {
		return map[string]string{}, 0, nil
	}
	var d struct {
		Data struct {
			Data     map[string]string
			Metadata struct{ Version int }
		}
	}
	if status != http.StatusOK || json.Unmarshal(answer, &d) != nil || d.Data.Data == nil {
		return nil, 0, fmt.Errorf("a read is answered with %d %s", status, answer)
	}
	return d.Data.Data, d.Data.Metadata.Version, nil
}

// writeDocument writes as influxd does, and returns the new version.
func (s *server) writeDocument(token string, data map[string]string, cas int) (version int, err error) {
	body, err := json.Marshal(map[string]any{"data": data, "options": map[string]any{"cas": cas}})
	if err != nil {
		return 0, err
	}
	status, answer, err := s.do(http.MethodPut, "/influxd/v1/secret/data/"+s.orgID, token, body)
	if err != nil {
		return 0, unanswered{err}
	}
	if status == http.StatusBadRequest && strings.Contains(string(answer), "check-and-set") {
		return 0, fmt.Errorf("%w: %s", errConflict, answer)
	}
	var w struct{ Data struct{ Version int } }
	if status != http.StatusOK || json.Unmarshal(answer, &w) != nil {
		return 0, fmt.Errorf("a write with check-and-set %d is answered with %d %s", cas, status, answer)
	}
	return w.Data.Version, nil
}

// unanswered is the error of a request that may or may not have taken effect.
type unanswered struct{ error }

// writers are twelve clients that each keep changing their own secret, all in the
// same document.
type writers struct {
	s       *server
	token   string
	deletes atomic.Int64 // incremented when a deletion is sent and when it is answered
	acks    atomic.Int64

	mu       sync.Mutex
	last     map[string]string // by name, the last acknowledged value
	since    map[string]int64  // by name, deletes when that write was sent
	versions map[int]bool      // acknowledged
}

const writerCount = 12

func newWriters(s *server) *writers {
	return &writers{s: s, token: s.token, last: map[string]string{}, since: map[string]int64{}, versions: map[int]bool{}}
}

// run lets each writer write the given number of times while disturb runs.
func (w *writers) run(phase string, rounds int, disturb func()) {
	w.s.t.Helper()
	var wg sync.WaitGroup
	for i := range writerCount {
		wg.Go(func() {
			name := w.s.secretName(fmt.Sprint("writer", i))
			for n := range rounds {
				if err := w.change(name, w.s.private(fmt.Sprintf("%s-%d", phase, n))); err != nil {
					w.s.t.Errorf("%s, writer %d, round %d: %v", phase, i, n, err)
					return
				}
			}
		})
	}
	disturb()
	wg.Wait()
}

// change changes one name. It retries only without an answer, or if the document was
// deleted between the read and the write, since the removal of the name by another
// writer is a conflict.
func (w *writers) change(name, value string) error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		began := w.deletes.Load()
		err := w.changeOnce(name, value)
		again := errors.As(err, new(unanswered)) || errors.Is(err, errConflict) && (w.deletes.Load() != began || began%2 == 1)
		if !again || time.Now().After(end) {
			return err
		}
	}
}

var errConflict = errors.New("the check-and-set was refused")

func (w *writers) changeOnce(name, value string) error {
	data, cas, err := w.s.readDocument(w.token)
	if err != nil {
		return err
	}
	if err := w.check(name, value, data); err != nil {
		return err
	}
	began := w.deletes.Load()
	data[name] = value
	version, err := w.s.writeDocument(w.token, data, cas)
	if err != nil {
		return err
	}
	w.acks.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.versions[version] {
		return fmt.Errorf("version %d was acknowledged twice", version)
	}
	w.versions[version] = true
	w.last[name], w.since[name] = value, began
	return nil
}

// check checks that a document has the acknowledged value of a name, or next, the
// value of a write without an answer. After a deletion, the name may be missing.
func (w *writers) check(name, next string, data map[string]string) error {
	now := w.deletes.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	want, written := w.last[name]
	got, there := data[name]
	switch {
	case !written, there && (got == want || got == next):
		return nil
	case !there && (w.since[name] != now || now%2 == 1):
		return nil
	}
	return fmt.Errorf("the document has %q, acknowledged was %q", got, want)
}

// atAck waits until the given number of writes has been acknowledged in total.
func (w *writers) atAck(n int64) {
	w.s.t.Helper()
	eventually(w.s.t, fmt.Sprintf("write number %d", n), func() bool { return w.acks.Load() >= n })
}

// TestInfluxdHabit writes as influxd does, with twelve writers at once, while the
// server crashes and while another client deletes the document.
func TestInfluxdHabit(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	s.orgID = "0f1e2d3c4b5a6978" // influxd has its own organizations
	s.org = s.orgID              // which are named after their IDs here
	w := newWriters(s)
	const rounds = 20

	w.run("calm", 2, func() {})
	w.run("crash", rounds, func() {
		for i := range int64(3) {
			w.atAck(2*writerCount + (i+1)*rounds*writerCount/5)
			s.kill()
			s.again()
		}
	})
	s.wantValues(w.last)
	if n := len(w.last); n != writerCount {
		t.Fatalf("%d writes were acknowledged", n)
	}
	// Unlike with Vault, the history has no gaps, and the drop guard no false alarms.
	history, err := s.operator().History(t.Context(), s.orgID)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range history {
		if v.Pinned || v.Number != history[0].Number-uint64(i) || len(v.Removed) > 0 {
			t.Errorf("version in the history: %+v", v)
		}
	}
	if len(history) < 10 {
		t.Errorf("the history has %d versions", len(history))
	}

	w.run("delete", rounds, func() {
		start := w.acks.Load()
		for i := range int64(3) {
			w.atAck(start + (i+1)*rounds*writerCount/5)
			w.deletes.Add(1)
			status, answer, err := s.do(http.MethodDelete, "/v1/secret/data/"+s.orgID, s.token, nil)
			w.deletes.Add(1)
			if err != nil || status != http.StatusNoContent {
				t.Errorf("a deletion is answered with %d %s, %v", status, answer, err)
			}
		}
	})
	now := s.values()
	for name, value := range w.last {
		if w.since[name] == w.deletes.Load() && now[name] != value {
			t.Errorf("%s is %q, acknowledged after the last deletion was %q", name, now[name], value)
		}
	}
	// Now that the organization is known, a token for it alone is enough.
	w.token = s.newToken(client.Read, client.Write).Token
	w.run("after", 1, func() {})
	s.wantValues(w.last)

	// A deleted document is an empty one to influxd, and nothing of it comes
	// back with the next write.
	if status, _, err := s.do(http.MethodDelete, "/v1/secret/data/"+s.orgID, s.token, nil); err != nil || status != http.StatusNoContent {
		t.Fatal(status, err)
	}
	data, cas, err := s.readDocument(s.token)
	if err != nil || len(data) > 0 || cas != 0 {
		t.Errorf("a deleted document is read as %q, version %d, %v", data, cas, err)
	}
	s.wantValues(map[string]string{})
	alone := map[string]string{s.secretName("alone"): s.private("v")}
	if _, err := s.writeDocument(s.token, alone, 0); err != nil {
		t.Error(err)
	}
	s.wantValues(alone)
}
