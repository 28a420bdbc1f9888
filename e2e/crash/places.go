package main

import (
	"fmt"
	"math/rand/v2"
)

// place is where the server is killed.
type place struct {
	name string
	// early places are passed when the server starts, and rarely later.
	early bool
	// most is the maximum number of times that the place is passed before the
	// kill.
	most int
}

// places returns the points before and after the server's operations on files.
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

// planner decides how the server is killed next.
type planner struct {
	random *rand.Rand
	queue  []place
	turn   int
}

// next returns the place of the next kill and the command that arms it. Every
// fourth kill is at a random moment instead.
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
