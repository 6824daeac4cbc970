package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Names of the two subsets of a route that splits between subsets.
const (
	SubsetStable = "subset-stable"
	SubsetCanary = "subset-canary"
)

// AddSubsetRoute creates a Route that splits between two subsets which reach
// every pod; the stable one has all weight.
func (w *World) AddSubsetRoute(plugin, name string, total int32, places ...string) {
	w.AddRouteTo(plugin, name, total, [2]string{SubsetStable, SubsetCanary}, places...)
	w.mustUpdate(name, func(p *Place) { p.Subsets = map[string]string{SubsetStable: "", SubsetCanary: ""} })
}

// Mesh is a second router plugin of random clusters.
const Mesh = "mesh"

// PointSubsets is somebody's edit of the revisions that the subsets of a route
// name; what is behind them need not exist.
func (w *World) PointSubsets(name, hash string) {
	w.note("somebody points the subsets at " + hash)
	w.mustUpdate(name, func(p *Place) { p.Subsets[SubsetStable], p.Subsets[SubsetCanary] = hash, hash })
}

func (w *World) mustUpdate(name string, edit func(*Place)) {
	_, err := w.store.update(byUser, key{kindRoute, name}, "", func(obj object) {
		places := obj.(*Route).Places
		for i := range places {
			edit(&places[i])
		}
	})
	w.must(err)
}

// WithSubsets is the Rollout without Services: its route splits between subsets.
func WithSubsets(ro *v1alpha1.Rollout, route string) *v1alpha1.Rollout {
	canary := ro.Spec.Strategy.Canary
	canary.StableService, canary.CanaryService = "", ""
	canary.TrafficRouting.Plugins[RouterPlugin] = Block(route)
	return ro
}

func subset(name string) bool { return name == SubsetStable || name == SubsetCanary }

func subsetOf(role rollout.Role) string {
	if role == rollout.RoleStable {
		return SubsetStable
	}
	return SubsetCanary
}

// ends are the names that the Rollout's traffic is split between at the place.
func ends(ro *v1alpha1.Rollout, p Place) (stable, canary string) {
	if p.Subsets != nil {
		return SubsetStable, SubsetCanary
	}
	return rollout.Services(ro)
}

// reaches is the revision behind a backend of the place: a data plane that has
// not taken over where a subset points still sends to where it pointed.
func (w *World) reaches(p Place, name string) string {
	if p.Subsets != nil && subset(name) {
		return p.Subsets[name]
	}
	return w.hashOf(name)
}

// left is what a router leaves behind: the stable subset reaches every pod, then
// it has everything, then the other one reaches every pod, too.
func left(o rollout.ReleaseTraffic) wanted {
	stable, canary := o.Release.StableService, o.Release.CanaryService
	want := wanted{subsets: map[string]string{}}
	if o.Router.Subsets() {
		stable, canary = SubsetStable, SubsetCanary
		want.subsets[stable] = ""
		if at, _ := o.Router.Subset(rollout.RoleStable); at != "" {
			return want
		}
		if _, weight := o.Router.Subset(rollout.RoleCanary); weight == 0 {
			want.subsets[canary] = ""
		}
	}
	want.weights = map[string]int32{stable: o.Release.TotalWeight, canary: 0}
	return want
}

// misdirected says which subset does not name the revision that serves
// everything at rest, or still names one of this Rollout's where no router is
// left to move it; "" when none does.
func (w *World) misdirected(serving string) string {
	for _, r := range list[*Route](w.store.live, kindRoute) {
		ours := slices.ContainsFunc(rollout.Blocks(w.Rollout()), func(b rollout.Block) bool { return routeName(b.Config) == r.Name })
		for _, p := range append(clonePlaces(r.Places), w.served[r.Name]...) {
			for _, name := range sortedKeys(p.Subsets) {
				switch at := p.Subsets[name]; {
				case ours && at != serving:
					return fmt.Sprintf("%s of %s/%s names %q", name, r.Name, p.Name, at)
				case !ours && w.byHash(at) != nil:
					return fmt.Sprintf("%s of %s/%s still names %q, and nobody will move it", name, r.Name, p.Name, at)
				}
			}
		}
	}
	return ""
}

// subsetCarries is the largest weight that any place of the route gives the
// subset, as written or as served.
func (w *World) subsetCarries(route, name string, before Place) int64 {
	most := int64(weightIn(before, name))
	for _, p := range append(clonePlaces(find[*Route](w.store.live, kindRoute, route).Places), w.served[route]...) {
		most = max(most, int64(weightIn(p, name)))
		if slices.ContainsFunc(p.Managed, func(m ManagedRule) bool { return m.Service == name }) {
			most = max(most, 1)
		}
	}
	return most
}

// judgeSubsets is S3 for subsets: none that carries traffic, as written or as
// served, is pointed elsewhere, none is pointed at nothing, and what carried
// nothing gets weight only when the data plane knows where it points.
func (w *World) judgeSubsets(route string, before, after Place) {
	for _, name := range []string{SubsetStable, SubsetCanary} {
		from, to := before.Subsets[name], after.Subsets[name]
		if after.Subsets == nil {
			return
		}
		if from == to {
			w.judgeServedSubset(route, name, before, after)
			continue
		}
		carries := w.subsetCarries(route, name, before)
		dead := name == SubsetStable && (w.available(from) == 0 || to == w.Rollout().Status.StableRS && w.available(to) >= w.replicas())
		switch have := w.available(to); {
		case to == "": // given back
		case have == 0:
			w.broken("S3", "%s is pointed at %s, which has no pod", name, to)
		case from == "" && have < int64(rollout.SpecReplicas(w.byHash(to))):
			w.broken("S3", "%s is adopted for %s, which has %d pods", name, to, have)
		case from != "" && !dead && carries > 0:
			w.broken("S3", "%s leaves %s for %s while it carries weight %d", name, from, to, carries)
		}
	}
}

func (w *World) judgeServedSubset(route, name string, before, after Place) {
	if weightIn(before, name) > 0 || weightIn(after, name) == 0 || w.Rollout().Status.Abort {
		return
	}
	at := slices.IndexFunc(w.served[route], func(p Place) bool { return p.Name == after.Name })
	if at < 0 {
		return
	}
	// What the data plane sends there already, an edit in between has not taken away.
	if served := w.served[route][at]; served.Subsets[name] != after.Subsets[name] && weightIn(served, name) < weightIn(after, name) {
		w.broken("S3", "%s gets weight %d while the data plane still sends it to %s", name, weightIn(after, name), served.Subsets[name])
	}
}

// shown is a backend as a story tells it.
func shown(p Place, name string) string {
	if p.Subsets == nil || !subset(name) {
		return name
	}
	return name + " (" + cmp.Or(p.Subsets[name], "every pod") + ")"
}
