package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Route is the object a router plugin writes: the weights of one or several
// places, like the rules of an HTTPRoute.
type Route struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	// Plugin is the catalog name of the router whose data plane serves it.
	Plugin string
	Places []Place
	// Programmed is the generation the data plane reports to serve.
	Programmed int64
}

// Place is one weighted rule.
type Place struct {
	Name     string
	Backends []Backend
	// Managed rules come before the weighted one, highest priority first.
	Managed []ManagedRule
	// Subsets is nil where the backends are Services, else the revision that each
	// of them is pointed at, by its name; "" is every pod.
	Subsets map[string]string
}

// ManagedRule sends what matches to one Service, whatever the weights are.
type ManagedRule struct {
	rollout.ManagedRoute
	Service string
}

// Backend is one Service with its weight.
type Backend struct {
	Service string
	Weight  int32
}

// DeepCopyObject implements runtime.Object.
func (r *Route) DeepCopyObject() runtime.Object {
	out := *r
	r.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Places = clonePlaces(r.Places)
	return &out
}

func clonePlaces(in []Place) []Place {
	out := slices.Clone(in)
	for i := range out {
		out[i].Backends = slices.Clone(out[i].Backends)
		out[i].Managed = slices.Clone(out[i].Managed)
		out[i].Subsets = maps.Clone(out[i].Subsets)
	}
	return out
}

// Plugin is one router plugin of the simulated host.
type Plugin struct {
	// Installed is false for a plugin that is not in the catalog, Up is false
	// while its process is away.
	Installed, Up bool
	// Asking is true while its answer is still awaited.
	Asking bool
	// Silent plugins report no convergence.
	Silent bool
	// Lag is how long the data plane takes to report a change, Settle how long
	// traffic may lag behind that.
	Lag, Settle time.Duration
	// Refuse makes the next Route calls fail.
	Refuse int
	// Trouble is what else keeps it from saying what it routes; nil for nothing.
	Trouble *rollout.Problem
	// External makes the core record its intent first.
	External bool
	// Blind plugins do not offer OBSERVE; they say with Route whether the data
	// plane follows.
	Blind bool
	// Plain plugins route by weight only: no managed routes.
	Plain bool
	// Can, if not nil, is what the plugin offers besides, instead of what Plain
	// says.
	Can *rollout.Capabilities
}

// routeConfig is the plugin's block in a Rollout.
type routeConfig struct {
	Route string `json:"route"`
	// Places of it; none are all.
	Places []string `json:"places,omitempty"`
}

func (w *World) routeOf(plugin string, config json.RawMessage) string {
	if w.RouteOf != nil {
		return w.RouteOf(plugin, config)
	}
	return routeName(config)
}

func routeName(config json.RawMessage) string {
	var c routeConfig
	_ = json.Unmarshal(config, &c) // nonsense names no route, which is reported
	return c.Route
}

// observeAll is what the routers of the Rollout tell, from the caches.
func (w *World) observeAll(ro *v1alpha1.Rollout) []rollout.Router {
	var out []rollout.Router
	for _, block := range rollout.Blocks(ro) {
		out = append(out, w.observeRouter(ro, block))
	}
	return out
}

func (w *World) observeRouter(ro *v1alpha1.Rollout, block rollout.Block) rollout.Router {
	r := rollout.Router{Plugin: block.Plugin, Path: block.Path, Config: block.Config, Releasing: block.Releasing}
	plugin := w.Plugins[block.Plugin]
	if r.Problem = problemOf(plugin, block.Plugin); r.Problem != nil && r.Problem.Class != rollout.ProblemConflict {
		return r
	}
	r.Capabilities = rollout.Capabilities{Observe: !plugin.Blind, Experiments: !plugin.Plain, MaxWeight: true, ExternalEffects: plugin.External,
		HeaderRoutes: !plugin.Plain, MirrorRoutes: !plugin.Plain}
	if plugin.Can != nil {
		r.Capabilities = *plugin.Can
		r.Capabilities.Observe = !plugin.Blind
	}
	route := find[*Route](w.cache.objects, kindRoute, w.routeOf(block.Plugin, block.Config))
	if route == nil {
		if !block.Releasing {
			r.Problem = &rollout.Problem{Class: rollout.ProblemInvalid, Path: "route",
				Message: fmt.Sprintf("Route %q does not exist; create it or correct the name", w.routeOf(block.Plugin, block.Config))}
		}
		return r
	}
	if plugin.Blind {
		r.Observation = rollout.Remember(ro, block)
		return r
	}
	target := block.Target(ro)
	o := rollout.Observation{Convergence: rollout.ConvergenceDone, Settle: plugin.Settle, Fingerprint: route.ResourceVersion}
	switch {
	case plugin.Silent:
		o.Convergence = rollout.ConvergenceUnknown
	case route.Programmed < route.Generation:
		o.Convergence, o.Message = rollout.ConvergencePending, "the gateway has not accepted the route yet"
	}
	total := (&rollout.Snapshot{Rollout: ro}).TotalWeight()
	for _, place := range steered(block.Config, route.Places) {
		claim := claimOf(route, place)
		if slices.Contains(block.Kept, claim) {
			continue
		}
		o.Observed = append(o.Observed, rollout.Observed{Place: route.Name + "/" + place.Name,
			Traffic: rollout.Traffic{TotalWeight: total, Destinations: destinations(place, target, total), Managed: rules(place)}})
		o.Claims = append(o.Claims, claim)
	}
	r.Observation = o
	return r
}

func destinations(place Place, target rollout.Target, total int32) []rollout.Destination {
	var out []rollout.Destination
	for _, b := range place.Backends {
		switch name := b.Service; {
		case place.Subsets != nil && name == SubsetStable:
			out = append(out, rollout.Destination{Role: rollout.RoleStable, Hash: place.Subsets[name], Weight: b.Weight})
		case place.Subsets != nil && name == SubsetCanary:
			out = append(out, rollout.Destination{Role: rollout.RoleCanary, Hash: place.Subsets[name], Weight: b.Weight})
		case name == target.StableService:
			out = append(out, rollout.Destination{Role: rollout.RoleStable, Service: b.Service, Weight: b.Weight})
		case name == target.CanaryService:
			out = append(out, rollout.Destination{Role: rollout.RoleCanary, Service: b.Service, Weight: b.Weight})
		case strings.Contains(name, "-exp-"):
			out = append(out, rollout.Destination{Role: rollout.RoleExperiment, Service: b.Service, Weight: b.Weight})
		}
	}
	normalise(out, total)
	return out
}

// normalise brings weights to the total that was asked for; what carries
// anything goes on carrying something.
func normalise(all []rollout.Destination, total int32) {
	var sum int64
	for _, d := range all {
		sum += int64(d.Weight)
	}
	for i, d := range all {
		if d.Weight > 0 && sum != int64(total) {
			all[i].Weight = max(1, int32(int64(d.Weight)*int64(total)/sum))
		}
	}
}

func rules(place Place) []rollout.ManagedRoute {
	var out []rollout.ManagedRoute
	for _, m := range place.Managed {
		out = append(out, m.ManagedRoute)
	}
	return out
}

func problemOf(p *Plugin, name string) *rollout.Problem {
	switch {
	case p == nil || !p.Installed:
		return &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable,
			Message: fmt.Sprintf("router plugin %q is not installed; add it to the catalog", name)}
	case !p.Up:
		return &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable,
			Message: fmt.Sprintf("router plugin %q does not answer; it is being restarted", name)}
	case p.Trouble != nil:
		return p.Trouble
	case p.Asking:
		return &rollout.Problem{Class: rollout.ProblemWaiting, Reason: v1alpha1.ReasonWaitingForPlugin,
			Message: fmt.Sprintf("router plugin %q is being asked", name)}
	}
	return nil
}

// wanted is what a router is asked for, as it writes it.
type wanted struct {
	weights map[string]int32 // nil leaves them and the managed routes as they are
	managed []ManagedRule
	subsets map[string]string
}

// asked translates a distribution; managed routes send to the canary.
func asked(t rollout.Traffic) wanted {
	want, canary := wanted{weights: map[string]int32{}, subsets: map[string]string{}}, ""
	for _, d := range t.Destinations {
		name := d.Service
		if d.Subset() {
			name = subsetOf(d.Role)
			want.subsets[name] = d.Hash
		}
		want.weights[name] += d.Weight
		if d.Role == rollout.RoleCanary {
			canary = name
		}
	}
	for _, m := range t.Managed {
		want.managed = append(want.managed, ManagedRule{m, canary})
	}
	return want
}

// route writes what is desired, without what is kept, if the object is still
// the observed one.
func (w *World) route(r rollout.Router, kept []rollout.Claim, want wanted, id rollout.OpID, out *rollout.Outcome) error {
	plugin := w.Plugins[r.Plugin]
	if p := problemOf(plugin, r.Plugin); p != nil {
		return p
	}
	if plugin.Refuse > 0 {
		plugin.Refuse--
		return errors.New("the router plugin could not build the route")
	}
	k := key{kindRoute, w.routeOf(r.Plugin, r.Config)}
	cached := find[*Route](w.cache.objects, kindRoute, k.name)
	version := r.Observation.Fingerprint
	if plugin.Blind {
		version = "" // it looks for itself
	} else if cached == nil || cached.ResourceVersion != version {
		return apierrors.NewConflict(resource(k), k.name, errors.New("changed since it was observed"))
	}
	obj, err := w.store.update(byController, k, version, func(obj object) {
		route := obj.(*Route)
		for i, place := range route.Places {
			if steers(r.Config, place) && !slices.Contains(kept, claimOf(route, place)) {
				route.Places[i].write(want)
			}
		}
	})
	if err == nil && !plugin.Blind {
		w.wrote(obj) // as the real broker does
	}
	if route, ok := obj.(*Route); ok && plugin.Blind && !plugin.Silent {
		out.Converged[id] = rollout.ConvergenceDone
		if route.Programmed < route.Generation {
			out.Converged[id] = rollout.ConvergencePending
		}
	}
	return err
}

// write makes the place what is wanted: backends of experiments come and go.
func (p *Place) write(want wanted) {
	for name, hash := range want.subsets {
		if p.Subsets != nil {
			p.Subsets[name] = hash
		}
	}
	if want.weights == nil {
		return
	}
	for name, weight := range want.weights {
		at := slices.IndexFunc(p.Backends, func(b Backend) bool { return b.Service == name })
		if at >= 0 {
			p.Backends[at].Weight = weight
		} else if weight > 0 {
			p.Backends = append(p.Backends, Backend{name, weight})
		}
	}
	p.Backends = slices.DeleteFunc(p.Backends, func(b Backend) bool {
		_, wanted := want.weights[b.Service]
		return !wanted && strings.Contains(b.Service, "-exp-")
	})
	slices.SortFunc(p.Backends, func(a, b Backend) int { return strings.Compare(a.Service, b.Service) })
	p.Managed = slices.Clone(want.managed)
}

// program is the data plane: it reports a new generation after the plugin's
// lag, and serves it at the end of the settle time.
func (w *World) program(route *Route) {
	name, generation, places := route.Name, route.Generation, clonePlaces(route.Places)
	lag, settle, silent := w.dataPlane(route.Plugin)
	if lag+settle == 0 {
		w.serve(name, generation, places)
	} else {
		w.after(lag+settle, func() {
			if generation > w.servedGeneration[name] {
				w.serve(name, generation, places)
			}
		})
	}
	if !silent {
		w.after(lag, func() {
			_, _ = w.store.update(byCluster, key{kindRoute, name}, "", func(obj object) {
				r := obj.(*Route)
				r.Programmed = max(r.Programmed, generation)
			})
		})
	}
}

func (w *World) serve(name string, generation int64, places []Place) {
	w.servedGeneration[name], w.served[name] = generation, places
	w.trackTraffic()
}

// dataPlane returns the timing behind a plugin. What a silent one takes is
// within its settle time.
func (w *World) dataPlane(plugin string) (lag, settle time.Duration, silent bool) {
	p := w.Plugins[plugin]
	if p.Blind { // it can name no settle time, so there is none
		return map[bool]time.Duration{false: p.Lag}[p.Silent], 0, p.Silent
	}
	if p.Silent {
		return 0, p.Settle, true
	}
	return p.Lag, p.Settle, false
}
