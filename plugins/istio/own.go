package main

import (
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// recordKey is the annotation in which a VirtualService says what in it the rollouts have put there. What is not recorded
// is the user's, whatever it looks like.
const recordKey = "istio.sluice.dev/owned"

// record is what one rollout has put into one VirtualService.
type record struct {
	Routes []managed `json:"routes,omitempty"`
	// Services of experiments, which have a destination in each route that splits.
	Services []string `json:"services,omitempty"`
	// Canary is the weight that was asked for where others leave less room than that. 0: it is what is there.
	Canary int32 `json:"canary,omitempty"`
}

// managed is a managed route as it was last asked for, and the names of the routes that make it.
type managed struct {
	trafficrouter.ManagedRoute

	Names []string `json:"names"`
}

// owned is what of a VirtualService is one rollout's, by its record.
type owned struct {
	record

	// by is the name of the route per index of spec.http, empty for those that are not the rollout's.
	by []string
	// routes are the recorded ones that are there, in the order of their first routes.
	routes []trafficrouter.ManagedRoute
	// taken are names of managed routes that a route bears which is not recorded.
	taken []string
}

// readOwned finds what of a VirtualService is the rollout's. An annotation that does not decode is no record.
func readOwned(o *objects.Typed[virtualService], rollout string, names []string) owned {
	own := owned{record: objects.Record[record](o.Object, recordKey, rollout), by: make([]string, len(o.View.Spec.HTTP))}
	for i, r := range o.View.Spec.HTTP {
		at := slices.IndexFunc(own.Routes, func(m managed) bool { return r.Name != "" && slices.Contains(m.Names, r.Name) })
		switch {
		case at >= 0:
			own.by[i] = r.Name
			route := own.Routes[at].ManagedRoute
			if !slices.ContainsFunc(own.routes, func(have trafficrouter.ManagedRoute) bool { return have.Name == route.Name }) {
				own.routes = append(own.routes, route)
			}
		case r.Name != "" && slices.Contains(names, r.Name):
			own.taken = append(own.taken, r.Name)
		}
	}

	return own
}

// isMirror says whether the HTTP route at an index is a mirror of the rollout, which splits like its source.
func (o owned) isMirror(index int) bool {
	return o.by[index] != "" && slices.ContainsFunc(o.Routes, func(m managed) bool {
		return m.Mirror != nil && slices.Contains(m.Names, o.by[index])
	})
}

// experiment is the recorded Service a destination of a route goes to; empty for those of others.
func (o owned) experiment(vs *objects.Typed[virtualService], r route, i int, e ends) string {
	d := r.Route[i].Destination
	for _, service := range o.Services {
		if d.Subset == "" && fullHost(d.Host, vs.Ref.Namespace) == fullHost(service, e.namespace) {
			return service
		}
	}

	return ""
}

// empty says that nothing is recorded.
func (r record) empty() bool { return len(r.Routes)+len(r.Services) == 0 && r.Canary == 0 }

// keep replaces the rollout's record in the object, and leaves those of others.
func (r record) keep(o *objects.Object, rollout string) error {
	if r.empty() {
		return objects.SetRecord(o, recordKey, rollout, nil)
	}

	return objects.SetRecord(o, recordKey, rollout, r)
}
