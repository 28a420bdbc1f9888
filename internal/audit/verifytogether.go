package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
)

// TogetherReport is the result of [VerifyTogether].
type TogetherReport struct {
	Logs    []Report // in the order of the logs
	Records uint64   // each counted once
	// Copies are the lines that repeat a record because another server took it
	// over.
	Copies uint64
}

// VerifyTogether verifies the logs of servers that share a store, given by their
// paths: each by itself, as [Verify] does, and that every record counts once. When a server
// takes over the records of another that seems dead, both may log them. So a
// record may be in several logs, but only with the same content, and all of
// these logs except one must have an entry that says who took it over.
//
// It holds the ID of each record in memory. If the logs contradict each other,
// the error is a *DamageError.
func VerifyTogether(ctx context.Context, paths []string) (TogetherReport, error) {
	t := together{seen: map[ID]copyOf{}, given: map[givenAway]bool{}}
	for i, path := range paths {
		t.log = i
		report, err := verify(ctx, path, nil, t.line)
		t.report.Logs = append(t.report.Logs, report)
		if err != nil {
			return t.report, err
		}
	}
	// What explains a copy may come later in the logs.
	for _, c := range t.copies {
		kept := t.seen[c.id]
		switch {
		case t.given[givenAway{c.log, c.id}]:
		case t.given[givenAway{kept.log, c.id}]:
			t.seen[c.id] = c
		default:
			return t.report, &DamageError{paths[c.log], 0, fmt.Errorf(
				"line %d of the log repeats line %d of %s, but neither log says that another server took the record over", c.seq, kept.seq, paths[kept.log])}
		}
	}
	t.report.Records = uint64(len(t.seen))
	t.report.Copies = uint64(len(t.copies))
	return t.report, nil
}

// together compares the lines of several logs.
type together struct {
	report TogetherReport
	log    int // the log that is being read
	seen   map[ID]copyOf
	copies []copyOf
	given  map[givenAway]bool
}

// copyOf is a record in one of the logs.
type copyOf struct {
	id   ID
	log  int
	seq  uint64
	body [16]byte // of the hash
}

// givenAway is a record that a log says was taken over by another server.
type givenAway struct {
	log int
	id  ID
}

// line is called with each line, after it was verified.
func (t *together) line(h header, line []byte) error {
	body, _ := cutFor(bodyOf(h, line))
	sum := sha256.Sum256(body)
	here := copyOf{id: h.id, log: t.log, seq: h.seq}
	copy(here.body[:], sum[:])
	if first, again := t.seen[h.id]; !again {
		t.seen[h.id] = here
	} else {
		if first.body != here.body {
			return fmt.Errorf("line %d of the log has the ID of another record, which is line %d of a log before: one of the two was changed", h.seq, first.seq)
		}
		t.copies = append(t.copies, here)
	}
	if !bytes.Contains(line, []byte(takenField)) {
		return nil
	}
	e, err := Parse(line)
	if err != nil {
		return err
	}
	for _, id := range e.TakenOver {
		t.given[givenAway{t.log, id}] = true
	}
	return nil
}

// bodyOf returns the record in a line.
func bodyOf(h header, line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	start := len(appendLineStart(nil, Checkpoint{Seq: h.seq - 1}))
	return append([]byte{'{'}, line[start:]...)
}
