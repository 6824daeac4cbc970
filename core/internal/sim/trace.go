package sim

import (
	"strings"
	"time"
)

// Deed is one thing the controller did: a write, a call of a step plugin, an
// eviction.
type Deed struct {
	// At is the time since the World began.
	At time.Duration
	// Kind is what it was done to: pods, service, route, run, exp, step,
	// workload, status.
	Kind string
	// What, as in the story, with pod template hashes instead of versions.
	What string
}

// Deeds are what the controller has done, in order. What it tells, and what the
// rest of the cluster does, is not among them.
func (w *World) Deeds() []Deed { return w.deeds }

// PeakPods is the largest number of pods that existed at once.
func (w *World) PeakPods() int { return w.peak }

// did writes a line of the controller down.
func (w *World) did(line string) {
	kind, what, _ := strings.Cut(line, " ")
	w.deeds = append(w.deeds, Deed{At: w.now.Sub(w.begin), Kind: kind, What: strings.TrimLeft(what, " ")})
}

// Began is when the World began.
func (w *World) Began() time.Time { return w.begin }

// RestWithin runs until nothing happens any more by itself, at most for a time.
func (w *World) RestWithin(d time.Duration) {
	for limit := w.now.Add(d); w.tick(limit); {
	}
}
