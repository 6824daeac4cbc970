package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// route is the one kind the test plugin knows.
type route struct {
	Metadata struct {
		Name            string
		ResourceVersion string
	}
	Weight int32
	// Parent is another route the plugin has to see too.
	Parent string
}

// world stands in for the broker: routes by name, and what is wrong with a
// name. Only Resolve and Apply of the real one are modelled, by their promises.
type world struct {
	routes  map[string]*route
	version int
	wrong   map[string]rollout.NeedResult
	needed  map[string][]string
	applied int
}

func newWorld(names ...string) *world {
	w := &world{routes: map[string]*route{}, wrong: map[string]rollout.NeedResult{}, needed: map[string][]string{}}
	for _, name := range names {
		w.set(name, func(*route) {})
	}
	return w
}

func (w *world) set(name string, change func(*route)) {
	if w.routes[name] == nil {
		w.routes[name] = &route{}
	}
	w.version++
	w.routes[name].Metadata.Name, w.routes[name].Metadata.ResourceVersion = name, strconv.Itoa(w.version)
	change(w.routes[name])
}

func (w *world) Resolve(_ rollout.Caller, subscriber string, _ rollout.Grant, needs []rollout.Need) []rollout.NeedResult {
	w.needed[subscriber] = nil
	out := make([]rollout.NeedResult, len(needs))
	for i, need := range needs {
		w.needed[subscriber] = append(w.needed[subscriber], need.Name)
		out[i] = rollout.NeedResult{State: rollout.NeedSynced, APIVersion: "test/v1"}
		if wrong, ok := w.wrong[need.Name]; ok {
			out[i] = wrong
		} else {
			for _, name := range w.names() {
				if need.Name == name || need.Selector != nil {
					raw, _ := json.Marshal(w.routes[name])
					out[i].Objects = append(out[i].Objects, rollout.Object{APIVersion: "test/v1", ResourceVersion: w.routes[name].Metadata.ResourceVersion, JSON: raw})
				}
			}
		}
		out[i].Need = need
	}
	return out
}

func (w *world) names() (names []string) {
	for name := range w.routes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (w *world) Apply(_ context.Context, _ rollout.Caller, _ rollout.Grant, _ []rollout.NeedResult, writes []rollout.Write) error {
	for _, write := range writes {
		var r route
		if err := json.Unmarshal(write.JSON, &r); err != nil {
			return err
		}
		w.set(r.Metadata.Name, func(to *route) { to.Weight = r.Weight })
		w.applied++
	}
	return nil
}

func (w *world) Forget(subscriber string) { delete(w.needed, subscriber) }

// plugin is a router whose config names routes: {"routes": ["web"]}, or with
// "all" selects them.
type plugin struct {
	generation string
	able       rollout.Capabilities
	down       *rollout.Problem
	invalid    *rollout.Problem
	claims     []rollout.Claim
	recheck    time.Duration
	// more names routes only Route asks for; restless makes every answer need
	// another one.
	more     []string
	restless bool
	// warns is what it remarks on every configuration.
	warns string

	validations, observations, routes, starts int
	lastObserved                              rollout.ObserveRequest
	lastRouted                                rollout.RouteRequest
}

func (p *plugin) Generation() string {
	if p.down != nil {
		return ""
	}
	return p.generation
}

func (p *plugin) Capabilities(context.Context) (rollout.Capabilities, *rollout.Problem) {
	p.starts++
	return p.able, p.down
}

func (p *plugin) Grant() rollout.Grant { return rollout.Grant{} }

func need(name string) rollout.Need {
	return rollout.Need{Group: "test", Kind: "Route", Versions: []string{"v1"}, Namespace: "shop", Name: name}
}

// look lists the needs of a config and its inputs, and returns the routes.
func (p *plugin) look(config json.RawMessage, inputs []rollout.NeedResult) (needs []rollout.Need, seen []route, problem *rollout.Problem) {
	var c struct {
		Routes []string
		All    bool
	}
	_ = json.Unmarshal(config, &c)
	for _, name := range c.Routes {
		needs = append(needs, need(name))
	}
	if c.All {
		n := need("")
		n.Selector = &metav1.LabelSelector{}
		needs = append(needs, n)
	}
	for _, in := range inputs {
		if in.Need.Name != "" && len(in.Objects) == 0 && slices.Contains(c.Routes, in.Need.Name) {
			return nil, nil, &rollout.Problem{Class: rollout.ProblemInvalid, Reason: "InvalidSpec", Path: "routes", Message: fmt.Sprintf("Route %q not found", in.Need.Name)}
		}
		for _, object := range in.Objects {
			var r route
			_ = json.Unmarshal(object.JSON, &r)
			seen = append(seen, r)
			if r.Parent != "" {
				needs = append(needs, need(r.Parent))
			}
		}
	}
	if p.restless {
		needs = append(needs, need(strconv.Itoa(p.observations)))
	}
	return needs, seen, nil
}

func (p *plugin) Validate(_ context.Context, req rollout.ValidateRequest) ([]rollout.Need, string, *rollout.Problem) {
	p.validations++
	needs, _, problem := p.look(req.Config, req.Inputs)
	if problem == nil {
		problem = p.invalid
	}
	return needs, p.warns, problem
}

func (p *plugin) Observe(_ context.Context, req rollout.ObserveRequest) (rollout.ObserveAnswer, *rollout.Problem) {
	p.observations++
	p.lastObserved = req
	needs, seen, problem := p.look(req.Config, req.Inputs)
	answer := rollout.ObserveAnswer{Needs: needs, Observation: rollout.Observation{
		Convergence: rollout.ConvergenceDone, Claims: p.claims, Recheck: p.recheck}}
	for _, r := range seen {
		answer.Observation.Observed = append(answer.Observation.Observed, rollout.Observed{
			Place: r.Metadata.Name, Traffic: traffic(r.Weight)})
	}
	return answer, problem
}

func (p *plugin) Route(_ context.Context, req rollout.RouteRequest) (rollout.RouteAnswer, *rollout.Problem) {
	p.routes++
	p.lastRouted = req
	needs, seen, problem := p.look(req.Config, req.Inputs)
	for _, name := range p.more {
		needs = append(needs, need(name))
	}
	answer := rollout.RouteAnswer{Needs: needs}
	for _, r := range seen {
		r.Weight = 0
		if req.Desired != nil {
			r.Weight = int32(req.Desired.Weight(rollout.RoleCanary))
		}
		raw, _ := json.Marshal(r)
		answer.Writes = append(answer.Writes, rollout.Write{Verb: rollout.WriteUpdate, JSON: raw})
	}
	return answer, problem
}

func traffic(weight int32) rollout.Traffic {
	return rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Service: "stable", Weight: 100 - weight}, {Role: rollout.RoleCanary, Service: "canary", Weight: weight}}}
}

// shop is a Rollout with one router.
func shop(config string) *v1alpha1.Rollout {
	ro := &v1alpha1.Rollout{}
	ro.Namespace, ro.Name, ro.UID, ro.Generation = "shop", "web", "uid-web", 1
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{
		StableService: "stable", CanaryService: "canary",
		TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{"test/router": json.RawMessage(config)}},
	}
	return ro
}

// bench joins plugin, world and Routers with a clock that stands still.
type bench struct {
	*Routers
	plugin *plugin
	world  *world
	now    time.Time
	others []*v1alpha1.Rollout
}

func newBench(names ...string) *bench {
	b := &bench{
		plugin: &plugin{generation: "1", able: rollout.Capabilities{Observe: true}},
		world:  newWorld(names...),
		now:    time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC),
	}
	b.Routers = NewRouters(RoutersOptions{
		Plugin: func(name string) (RouterPlugin, *rollout.Problem) {
			if name != "test/router" {
				return nil, &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: "PluginUnavailable", Message: name + " is not installed"}
			}
			return b.plugin, nil
		},
		Objects:  b.world,
		Rollouts: func() []*v1alpha1.Rollout { return b.others },
		Now:      func() time.Time { return b.now },
		Lanes:    &Lanes{Patience: time.Minute},
	})
	return b
}

func (b *bench) observeOne(ro *v1alpha1.Rollout) rollout.Router {
	return b.ObserveAll(context.Background(), ro)[0]
}

func (b *bench) calls() [3]int {
	return [3]int{b.plugin.validations, b.plugin.observations, b.plugin.routes}
}

func hold(name, key string) v1alpha1.RouterHold {
	return v1alpha1.RouterHold{Object: rollout.ObjectName(schema.GroupKind{Group: "test", Kind: "Route"}, "shop", name), Key: key}
}

func key(ro *v1alpha1.Rollout) types.NamespacedName {
	return types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
}

// routed is Route without what it says of the data plane.
func (b *bench) routed(ro *v1alpha1.Rollout, op rollout.RouteTraffic) error {
	_, err := b.Route(context.Background(), ro, op)
	return err
}
