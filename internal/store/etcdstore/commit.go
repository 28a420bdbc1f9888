package etcdstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// format is the format of the keys and of the commit record.
const format = 1

// A commit is the value of the commit key: it describes the newest state. Each
// commit names the one before it, so the commits are a chain, in which a state
// that is older or another than it should be shows.
type commit struct {
	Format int    `json:"format"`
	Store  string `json:"store"`          // ID of the store
	Epoch  uint64 `json:"epoch"`          // number of times that a restored etcd was accepted
	N      uint64 `json:"n"`              // number of the commit
	ID     string `json:"id"`             // random
	Prev   string `json:"prev,omitempty"` // ID of commit N-1
	By     string `json:"by"`             // incarnation of the server that made it
	Time   int64  `json:"time"`           // Unix milliseconds, by the clock of that server

	// Events is the number of events of the records in this commit's revision, or
	// 0 if it moves a chunk.
	Events int `json:"events"`

	// Wait is the round: the incarnations whose turn it is to commit.
	Wait []string `json:"wait,omitempty"`

	// Large is the large change in progress.
	Large *large `json:"large,omitempty"`
}

// A large change does not fit into one transaction. Its writes are uploaded as
// chunks while the commit key is locked, become visible with one commit, and are
// then moved to the records.
type large struct {
	ID     string `json:"id"`
	By     string `json:"by"`     // incarnation of the server that makes or moves it
	Chunks int    `json:"chunks"` // 0 while the chunks are uploaded
	Moved  int    `json:"moved"`  // chunks that are in the records
}

// moving reports whether l is committed, but not in the records yet.
func (l *large) moving() bool { return l != nil && l.Chunks > 0 }

// movesTo reports whether next, which follows c, moves a chunk to the records.
func (c *commit) movesTo(next *commit) bool {
	return c.Large.moving() && (next.Large == nil || next.Large.Moved != c.Large.Moved)
}

func (c *commit) encode() []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // there is nothing in it that can fail
	}
	return b
}

func decodeCommit(b []byte) (*commit, error) {
	c := new(commit)
	if err := json.Unmarshal(b, c); err != nil || c.Format == 0 {
		return nil, ErrNotAStore
	}
	if c.Format > format {
		return nil, ErrNewerFormat
	}
	return c, nil
}

func (c *commit) time() time.Time { return time.UnixMilli(c.Time) }

// reached reports whether c includes the commit want.
func (c *commit) reached(want *commit) bool {
	return c.Epoch > want.Epoch || c.Epoch == want.Epoch && c.N >= want.N
}

// keys are the keys of a store.
type keys struct{ prefix string }

func (k keys) commit() []byte { return []byte(k.prefix + "c") }

// want is the key with which a server asks for a turn.
func (k keys) want(incarnation string) []byte { return []byte(k.prefix + "c/" + incarnation) }

// record returns the key in etcd of a key of the store.
func (k keys) record(key []byte) []byte { return append([]byte(k.prefix+"k/"), key...) }

// records returns the range in etcd of a range of the store.
func (k keys) records(from, to []byte) (start, end []byte) {
	if to == nil {
		return k.record(from), []byte(k.prefix + "k0")
	}
	return k.record(from), k.record(to)
}

// head is the range of the commit key and of the servers that want a turn.
func (k keys) head() (from, to []byte) { return k.commit(), []byte(k.prefix + "d") }

// watched is the range of the head and the records.
func (k keys) watched() (from, to []byte) { return k.commit(), []byte(k.prefix + "l") }

func (k keys) chunk(large string, i int) []byte {
	return fmt.Appendf(nil, "%sl/%s/%08d", k.prefix, large, i)
}

// sign is a sign of life while the writes of a large change are not known yet.
func (k keys) sign(large string, i int) []byte {
	return fmt.Appendf(nil, "%sl/%s/sign-%d", k.prefix, large, i)
}

func (k keys) chunks(large string) (from, to []byte) { return prefixed(k.prefix + "l/" + large + "/") }

func (k keys) allChunks() (from, to []byte) { return prefixed(k.prefix + "l/") }

func (k keys) server(id string) []byte { return []byte(k.prefix + "r/" + id) }

func (k keys) servers() (from, to []byte) { return prefixed(k.prefix + "r/") }

func (k keys) report(id string) []byte { return []byte(k.prefix + "s/" + id) }

func (k keys) reports() (from, to []byte) { return prefixed(k.prefix + "s/") }

func (k keys) all() (from, to []byte) { return prefixed(k.prefix) }

func prefixed(prefix string) (from, to []byte) {
	return []byte(prefix), store.PrefixEnd([]byte(prefix))
}

// split returns what a watched key is: the commit key, a server that wants a
// turn, or a record.
func (k keys) split(key []byte) (isCommit bool, want string, record []byte) {
	rest, _ := bytes.CutPrefix(key, []byte(k.prefix))
	switch {
	case string(rest) == "c":
		return true, "", nil
	case bytes.HasPrefix(rest, []byte("c/")):
		return false, string(rest[2:]), nil
	case bytes.HasPrefix(rest, []byte("k/")):
		return false, "", rest[2:]
	}
	return false, "", nil
}

// without returns round without id.
func without(round []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(round), func(s string) bool { return s == id })
}
