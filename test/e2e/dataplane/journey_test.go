package dataplane

import (
	"fmt"
	"strings"
)

// journey is a Rollout that is brought through weights with pauses, while its
// clients are counted.
type journey struct {
	w  *world
	m  *table
	ns string
	// weights, each with a pause behind it.
	weights []int
	// plain makes that many requests and counts the versions that answered.
	plain func(n int) map[string]int
	// tester does so with the header of a route that comes before all weights; nil:
	// there is none.
	tester func(n int) map[string]int
	// sample is how many requests a weight is judged by; half of it does for all or nothing.
	sample int
}

const testerSample = 400

// steps of the canary.
func (j journey) steps() string {
	var out []string
	if j.tester != nil {
		out = append(out, testers, pause)
	}
	for _, share := range j.weights {
		out = append(out, weight(share), pause)
	}
	if j.tester != nil {
		out = append(out, noTest)
	}

	return strings.Join(out, ", ")
}

// at reports the pause behind the i-th weight.
func (j journey) at(i int) func(map[string]any) bool {
	first := 1
	if j.tester != nil {
		first = 3
	}

	return paused(int64(first+2*i), int64(j.weights[i]))
}

// to begins an update and brings it to the pause behind the i-th weight.
func (j journey) to(version string, last int) {
	j.w.t.Helper()
	j.w.update(j.ns, version)
	if j.tester != nil {
		j.w.await(j.ns, "header route of "+version, paused(1, 0))
		j.w.resume(j.ns)
	}
	for i := range last + 1 {
		if i > 0 {
			j.w.resume(j.ns)
		}
		j.w.await(j.ns, fmt.Sprintf("%s at %d", version, j.weights[i]), j.at(i))
	}
}

// promoted measures an update at every step to its end.
func (j journey) promoted(version string) {
	j.w.t.Helper()
	j.w.update(j.ns, version)
	if j.tester != nil {
		j.w.await(j.ns, "header route only", paused(1, 0))
		j.m.share("header route at weight 0, others", 0, version, j.plain(j.sample/2))
		j.m.share("header route at weight 0, testers", 100, version, j.tester(testerSample))
		j.w.resume(j.ns)
	}
	for i, share := range j.weights {
		j.w.await(j.ns, fmt.Sprintf("%s at %d", version, share), j.at(i))
		j.m.share(fmt.Sprintf("setWeight %d", share), float64(share), version, j.plain(j.sample))
		if j.tester != nil {
			j.m.share(fmt.Sprintf("setWeight %d, testers", share), 100, version, j.tester(testerSample))
		}
		j.w.resume(j.ns)
	}
	j.w.await(j.ns, version+" is promoted, the others scaled down", alone)
	j.m.share("promoted", 100, version, j.plain(j.sample/2))
}

// abortedAt measures that nothing of an update is left when it is aborted at the
// i-th weight.
func (j journey) abortedAt(version string, i int) {
	j.w.t.Helper()
	j.to(version, i)
	j.w.patch(j.ns, `{"status":{"abort":true}}`, "status")
	j.w.await(j.ns, version+" is aborted and scaled down", aborted)
	j.m.share(fmt.Sprintf("aborted at %d", j.weights[i]), 0, version, j.plain(j.sample/2))
	if j.tester != nil {
		j.m.share(fmt.Sprintf("aborted at %d, testers", j.weights[i]), 0, version, j.tester(testerSample))
	}
}

// rolledBackAt measures that everything goes to the version before when people
// apply that in the middle of an update.
func (j journey) rolledBackAt(version string, i int, before string) {
	j.w.t.Helper()
	j.to(version, i)
	j.w.update(j.ns, before)
	j.w.await(j.ns, version+" is rolled back and scaled down", alone)
	j.m.share("rolled back", 100, before, j.plain(j.sample/2))
}
