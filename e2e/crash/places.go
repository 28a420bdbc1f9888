package main

import (
	"fmt"
	"math/rand/v2"
)

// place is where the server is to be killed.
type place struct {
	name string
	// early ones are passed when the server starts, and seldom later.
	early bool
	// most is the greatest number of times that the place is passed before it
	// kills.
	most int
}

// places lists the steps of the server's work on files, and the moments
// around each.
func places() []place {
	var all []place
	add := func(step string, early bool, most int, whens ...string) {
		for _, when := range whens {
			all = append(all, place{step + "." + when, early, most})
		}
	}
	const before, after, within = "before", "after", "within"
	add("store.log.write", false, 40, before, within, after)
	add("store.log.sync", false, 40, before, after)
	add("store.log.create", true, 1, before, after)
	add("store.log.remove", true, 1, before, after)
	add("store.manifest.create", true, 1, before, after)
	add("store.manifest.write", true, 3, before, within, after)
	add("store.manifest.sync", true, 3, before, after)
	add("store.marker.create", true, 1, before, after)
	add("store.marker.remove", true, 1, before, after)
	add("store.table.create", true, 2, before, after)
	add("store.table.write", true, 4, before, within, after)
	add("store.table.sync", true, 2, before, after)
	add("store.guard.write", true, 6, before, within, after)
	add("store.guard.sync", true, 6, before, after)
	add("store.folder.sync", true, 4, before, after)
	add("audit.write", false, 60, before, after)
	add("audit.sync", false, 2, before, after)
	add("audit.rename", false, 2, before, after)
	add("audit.create", false, 2, before, after)
	add("audit.dirsync", false, 2, before, after)
	return all
}

// planner chooses how the server ends next.
type planner struct {
	random *rand.Rand
	queue  []place
	turn   int
}

// next returns the place of the next kill, and what arms it. Every fourth is
// at no place but at a random moment.
func (p *planner) next() (at place, arm string) {
	if p.turn++; p.turn%4 == 0 {
		return place{}, ""
	}
	if len(p.queue) == 0 {
		p.queue = places()
		p.random.Shuffle(len(p.queue), func(i, j int) { p.queue[i], p.queue[j] = p.queue[j], p.queue[i] })
	}
	at, p.queue = p.queue[0], p.queue[1:]
	return at, fmt.Sprintf("kill %s %d", at.name, 1+p.random.IntN(at.most))
}
