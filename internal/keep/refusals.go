package keep

import (
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"golang.org/x/time/rate"
)

// A refusal costs the caller nothing, so neither the size nor the number of its
// records may be up to the caller. Every refused record has a bounded size, and
// refusals of strangers (callers without a valid credential) are recorded one by
// one only at first. After that, equal ones share a record that counts them.
const (
	defaultSingleRefusals = 20
	singleRefusalPace     = time.Second      // brings one single record back
	gatherTime            = 10 * time.Second // covered by one gathered record
	maxGathered           = 16               // kinds gathered at a time, besides the rest

	refusedNames = 3   // names set, and names removed, in the record of a refusal
	refusedText  = 128 // bytes of each text in it
)

// gatheredRest is the action of the record that counts all refusals for whose
// kind there was no room.
const gatheredRest = "refusals"

// logUnavailable is what the record of a time is equal to in which nothing could
// be recorded.
var logUnavailable = refusal{action: "audit-log", outcome: audit.Failed, code: string(CodeUnavailable)}

// refusal is what makes two refusals equal.
type refusal struct {
	action, outcome, code, protocol, remote string
	user, token, session                    string
}

func kindOf(rec *audit.Record) refusal {
	return refusal{rec.Action, rec.Outcome, rec.Code, rec.Protocol, rec.Remote, rec.User, rec.Token, rec.Session}
}

// refusals gathers refusals of strangers.
type refusals struct {
	mu     sync.Mutex
	single *rate.Limiter
	kinds  map[refusal]*gathered
}

type gathered struct {
	count uint64
	since time.Time
}

func newRefusals(single int) *refusals {
	if single == 0 {
		single = defaultSingleRefusals
	}
	return &refusals{
		single: rate.NewLimiter(rate.Every(singleRefusalPace), single),
		kinds:  make(map[refusal]*gathered),
	}
}

// add counts a refusal or failure, or reports that it has to be recorded by itself.
func (g *refusals) add(now time.Time, rec *audit.Record) (counted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.single.AllowN(now, 1) {
		return false
	}
	g.count(now, 1, kindOf(rec))
	return true
}

// miss counts a request that could not be recorded, and so was refused.
func (g *refusals) miss(now time.Time, rec *audit.Record) {
	rec.Outcome, rec.Code = audit.Failed, string(CodeUnavailable)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(now, 1, kindOf(rec))
}

func (g *refusals) count(since time.Time, n uint64, kind refusal) {
	if g.kinds[kind] == nil {
		if len(g.kinds) >= maxGathered {
			kind = refusal{action: gatheredRest, outcome: kind.outcome, code: kind.code}
		}
		if g.kinds[kind] == nil {
			g.kinds[kind] = &gathered{since: since}
		}
	}
	g.kinds[kind].count += n
}

// take removes what has been gathered for long enough, or everything.
func (g *refusals) take(now time.Time, all bool) map[refusal]*gathered {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := make(map[refusal]*gathered)
	for kind, c := range g.kinds {
		if age := now.Sub(c.since); all || age >= gatherTime || age < 0 {
			due[kind] = c
			delete(g.kinds, kind)
		}
	}
	return due
}

// giveBack keeps what could not be recorded for the next time.
func (g *refusals) giveBack(kind refusal, c *gathered) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(c.since, c.count, kind)
}

// recordRefusals writes the records of gathered refusals that are due, or of
// all of them. While the log can't be written, it tries to write a record of
// that, which is what finds the disk mended when nobody sends requests.
func (k *Keep) recordRefusals(all bool) error {
	now := k.now()
	if k.log.Err() != nil {
		k.refusals.giveBack(logUnavailable, &gathered{since: now})
		all = true
	}
	var failed error
	for kind, c := range k.refusals.take(now, all) {
		rec := audit.Record{
			ID: k.ids.Next(), Time: now, Action: kind.action, Outcome: kind.outcome, Code: kind.code,
			User: kind.user, Token: kind.token, Session: kind.session, Protocol: kind.protocol, Remote: kind.remote,
			Count: c.count, Detail: "since " + c.since.UTC().Format(time.RFC3339),
		}
		if err := k.log.AppendDetached(rec.Append(nil)); err != nil {
			k.refusals.giveBack(kind, c)
			failed = err
		}
	}
	return failed
}

// cutTexts shortens the texts of a record that a request may have chosen.
func cutTexts(rec *audit.Record, most int) {
	shorten := func(text string) string { return shortened(text, most) }
	rec.Names, rec.Removed = replaceAll(rec.Names, shorten), replaceAll(rec.Removed, shorten)
	for _, text := range []*string{&rec.Target, &rec.Detail, &rec.Remote, &rec.Request, &rec.Trace} {
		*text = shortened(*text, most)
	}
}

// replaceAll copies the texts only if one changes: they may be the caller's.
func replaceAll(texts []string, replace func(string) string) []string {
	copied := false
	for i, t := range texts {
		if r := replace(t); r != t {
			if !copied {
				texts, copied = slices.Clone(texts), true
			}
			texts[i] = r
		}
	}
	return texts
}

// shortened cuts a text to most bytes.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const ellipsis = "…"
	end := most - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
