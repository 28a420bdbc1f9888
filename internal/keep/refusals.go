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
// records may be up to the caller. Every refused record has a bounded size.
// Refusals of a known caller, and those of all strangers (callers without a
// valid credential) together, are recorded one by one only at first. After
// that, equal ones share a record that counts them.
const (
	defaultSingleRefusals = 20
	singleRefusalPace     = time.Second      // brings one single record back
	gatherTime            = 10 * time.Second // covered by one gathered record
	maxGathered           = 16               // kinds gathered at a time for each requester, besides the rest

	refusedNames = 3   // names set, and names removed, in the record of a refusal
	refusedText  = 128 // bytes of each text in it
)

// gatheredRest is the action of the record that counts refusals of all other
// kinds.
const gatheredRest = "refusals"

// logUnavailable is the kind of the record for a time in which nothing could be
// recorded.
var logUnavailable = refusal{action: "audit-log", outcome: audit.Failed, code: string(CodeUnavailable)}

// refusal has the fields in which equal refusals agree.
type refusal struct {
	action, outcome, code, protocol, remote string
	user, token, session                    string
	organization, target                    string // empty for strangers, who can name anything
}

func kindOf(rec *audit.Record) refusal {
	kind := refusal{
		action: rec.Action, outcome: rec.Outcome, code: rec.Code, protocol: rec.Protocol, remote: rec.Remote,
		user: rec.User, token: rec.Token, session: rec.Session,
	}
	if !rec.Stranger {
		kind.organization, kind.target = rec.Organization, shortened(rec.Target, refusedText)
	}
	return kind
}

// requester groups the callers whose refusals are gathered together: a token, a
// user's sessions or, as the zero value, all strangers.
type requester struct{ user, token string }

func requesterOf(rec *audit.Record) requester {
	if rec.Stranger {
		return requester{}
	}
	return requester{rec.User, rec.Token}
}

// refusals gathers refusals.
type refusals struct {
	single int

	mu sync.Mutex
	by map[requester]*gatherer
}

// gatherer gathers the refusals of one requester.
type gatherer struct {
	single *rate.Limiter
	kinds  map[refusal]*gathered
}

// gathered is a number of equal refusals.
type gathered struct {
	requester
	refusal
	count uint64
	since time.Time
}

func newRefusals(single int) *refusals {
	if single == 0 {
		single = defaultSingleRefusals
	}
	return &refusals{single: single, by: make(map[requester]*gatherer)}
}

// of returns the gatherer of a requester. The caller holds mu.
func (r *refusals) of(who requester) *gatherer {
	g := r.by[who]
	if g == nil {
		g = &gatherer{rate.NewLimiter(rate.Every(singleRefusalPace), r.single), make(map[refusal]*gathered)}
		r.by[who] = g
	}
	return g
}

// add counts a refusal or failure. It returns false if the refusal must be recorded
// individually.
func (r *refusals) add(now time.Time, rec *audit.Record) (counted bool) {
	who := requesterOf(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of(who).single.AllowN(now, 1) {
		return false
	}
	r.count(gathered{who, kindOf(rec), 1, now})
	return true
}

// miss counts a request that was refused because it could not be recorded.
func (r *refusals) miss(now time.Time, rec *audit.Record) {
	rec.Outcome, rec.Code = audit.Failed, string(CodeUnavailable)
	r.giveBack(gathered{requesterOf(rec), kindOf(rec), 1, now})
}

// count adds to the refusals of the same kind. The caller holds mu.
func (r *refusals) count(c gathered) {
	kinds := r.of(c.requester).kinds
	if kinds[c.refusal] == nil {
		if len(kinds) >= maxGathered {
			c.refusal = refusal{
				action: gatheredRest, outcome: c.outcome, code: c.code,
				user: c.requester.user, token: c.requester.token,
			}
		}
		if kinds[c.refusal] == nil {
			kinds[c.refusal] = &gathered{requester: c.requester, refusal: c.refusal, since: c.since}
		}
	}
	kinds[c.refusal].count += c.count
}

// take removes and returns the counts that are due, or all of them.
func (r *refusals) take(now time.Time, all bool) (due []gathered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for who, g := range r.by {
		for kind, c := range g.kinds {
			if age := now.Sub(c.since); all || age >= gatherTime || age < 0 {
				due = append(due, *c)
				delete(g.kinds, kind)
			}
		}
		if len(g.kinds) == 0 && g.single.TokensAt(now) >= float64(r.single) {
			delete(r.by, who) // nothing to remember
		}
	}
	return due
}

// giveBack returns a count that could not be recorded.
func (r *refusals) giveBack(c gathered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(c)
}

// recordRefusals writes the records of gathered refusals that are due, or of all.
// While the log can't be written, it tries to record that, which detects recovery
// even if there are no requests.
func (k *Keep) recordRefusals(all bool) error {
	now := k.now()
	if k.log.Err() != nil {
		k.refusals.giveBack(gathered{refusal: logUnavailable, since: now})
		all = true
	}
	var failed error
	for _, c := range k.refusals.take(now, all) {
		rec := audit.Record{
			ID: k.ids.Next(), Time: now, Action: c.action, Outcome: c.outcome, Code: c.code,
			User: c.refusal.user, Token: c.refusal.token, Session: c.session, Protocol: c.protocol, Remote: c.remote,
			Organization: c.organization, Target: c.target,
			Count: c.count, Detail: "since " + c.since.UTC().Format(time.RFC3339),
		}
		if err := k.log.AppendDetached(rec.Append(nil)); err != nil {
			k.refusals.giveBack(c)
			failed = err
		}
	}
	return failed
}

// cutTexts shortens the texts of a record that may come from a request.
func cutTexts(rec *audit.Record, most int) {
	shorten := func(text string) string { return shortened(text, most) }
	rec.Names, rec.Removed = replaceAll(rec.Names, shorten), replaceAll(rec.Removed, shorten)
	for _, text := range []*string{&rec.Target, &rec.Detail, &rec.Remote, &rec.Request, &rec.Trace} {
		*text = shortened(*text, most)
	}
}

// replaceAll replaces texts. It copies the slice, which may be the caller's, if
// one changes.
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

// shortened cuts a text to at most most bytes.
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
