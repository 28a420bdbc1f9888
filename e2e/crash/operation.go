package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// outcome is the result of a request from its client's view.
type outcome int

const (
	unanswered   outcome = iota // or only partly answered
	acknowledged                // 2xx, or a read that found nothing
	refused                     // 4xx
	unableNow                   // 503
)

// operation is one request of a worker.
type operation struct {
	worker *worker
	org    *org
	what   string // method and path
	change change
	kind   kind

	sent, done int64 // on the world's clock
	outcome    outcome
	status     int
	request    string // its ID in the audit log, "" if the answer had none
	version    uint64 // the version in the answer, 0 for none

	newest uint64    // the newest version known to any worker when it was sent
	single bool      // a refusal has its own record
	seen   *document // the result of a read
}

func (o *operation) String() string {
	return fmt.Sprintf("%s by %s on %q (status %d, request %q)", o.what, o.worker.name, o.org.name, o.status, o.request)
}

// end returns the moment after which the change can no longer happen.
func (o *operation) end() int64 {
	if o.outcome == unanswered || o.outcome == unableNow {
		return math.MaxInt64
	}
	return o.done
}

type kind int

const (
	reading  kind = iota
	changing      // secrets
	rolling       // back
	hiding        // the current version
	showing       // a hidden version
)

// change describes a requested change.
type change struct {
	set     map[string]string
	remove  []string
	replace bool    // set replaces all secrets
	exists  bool    // requires a document
	cas     *uint64 // the version that it is based on
	merge   bool    // merge if cas is stale
	from    uint64  // the version to roll back to
	show    uint64  // the version to undelete
}

// effect is the change that a version makes.
type effect struct {
	content map[string]string
	set     []string // names added or changed, sorted
	removed []string // sorted
}

// on returns the effect of the change on content, the content of version n-1;
// empty means that this version is hidden or does not exist. before returns
// the content of earlier versions. The error says why the server must have
// refused the change.
func (c *change) on(content map[string]string, n uint64, empty bool, before func(uint64) (map[string]string, bool)) (effect, error) {
	if empty {
		content = nil
	}
	if c.exists && empty {
		return effect{}, fmt.Errorf("there was no document to change")
	}
	set, remove, replace := c.set, c.remove, c.replace
	switch {
	case c.from != 0:
		old, ok := before(c.from)
		if !ok {
			return effect{}, fmt.Errorf("version %d is not known", c.from)
		}
		set, replace = old, true
	case c.cas == nil || *c.cas == n-1 && !(c.merge && empty):
	case !c.merge || *c.cas > n-1:
		return effect{}, fmt.Errorf("it was made for version %d", *c.cas)
	case *c.cas == 0 && empty:
	default:
		old, ok := map[string]string(nil), true
		if *c.cas > 0 {
			old, ok = before(*c.cas)
		}
		if !ok {
			return effect{}, fmt.Errorf("version %d is not known", *c.cas)
		}
		set, remove, replace = map[string]string{}, nil, false
		for name, value := range c.set {
			if was, had := old[name]; !had || was != value {
				set[name] = value
			}
		}
		for name := range old {
			if _, stays := c.set[name]; !stays {
				remove = append(remove, name)
			}
		}
		if name := conflict(content, old, set, remove); name != "" {
			return effect{}, fmt.Errorf("%q was changed since version %d", name, *c.cas)
		}
	}
	return apply(content, set, remove, replace), nil
}

// conflict returns a name whose current value is neither the old nor the new
// one.
func conflict(now, old, set map[string]string, remove []string) string {
	same := func(name string) bool {
		n, is := now[name]
		o, was := old[name]
		return is == was && n == o
	}
	for name, to := range set {
		if n, is := now[name]; !same(name) && (!is || n != to) {
			return name
		}
	}
	for _, name := range remove {
		if _, is := now[name]; !same(name) && is {
			return name
		}
	}
	return ""
}

func apply(content, set map[string]string, remove []string, replace bool) effect {
	next := map[string]string{}
	if !replace {
		maps.Copy(next, content)
		for _, name := range remove {
			delete(next, name)
		}
	}
	maps.Copy(next, set)
	e := effect{content: next}
	for name, value := range next {
		if was, had := content[name]; !had || was != value {
			e.set = append(e.set, name)
		}
	}
	for name := range content {
		if _, stays := next[name]; !stays {
			e.removed = append(e.removed, name)
		}
	}
	slices.Sort(e.set)
	slices.Sort(e.removed)
	return e
}
