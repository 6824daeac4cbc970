package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// state is what a VirtualService has to look like.
type state struct {
	weights

	// keep leaves the weights as they are, each route its own.
	keep bool
	// routes are the managed routes in order of precedence.
	routes []trafficrouter.ManagedRoute
}

// reach edits a VirtualService until it looks as wanted: the weights of the user's routes first, then the rollout's own
// routes, which are made anew from them and come before them in the order wanted.
func (c *call) reach(s steered, want state) error {
	var (
		sources []source
		left    = record{}
		edited  = map[string][]any{}
	)
	for _, protocol := range protocols {
		raw, _ := s.object.Value("spec", protocol)
		edited[protocol], _ = objects.Clone(raw).([]any)
	}
	for _, one := range s.splits {
		tree, ok := edited[one.protocol][one.index].(map[string]any)
		if !ok || one.own {
			continue
		}
		asked := want.weights
		if want.keep {
			asked = one.found(s.asked(one))
		}
		c.setWeights(tree, s, one, asked)
		if !one.tells(asked) {
			left.Canary = asked.canary
		}
		if one.protocol == "http" {
			sources = append(sources, source{tree, one})
		}
	}
	made, routes, err := c.ownRoutes(s, sources, want.routes)
	if err != nil {
		return err
	}
	for _, protocol := range protocols {
		trees := edited[protocol]
		if len(trees) == 0 {
			continue
		}
		if protocol == "http" && !s.shared {
			trees = placed(s, trees, made)
		}
		s.object.Set(trees, "spec", protocol)
	}
	if s.shared {
		return nil
	}
	left.Routes = routes
	for _, e := range want.experiments {
		left.Services = append(left.Services, e.service)
	}

	return left.keep(s.object.Object, c.rollout)
}

// setWeights edits the destinations of a route that does not split as wanted, adds those of experiments, and takes away
// those that were added earlier and are no longer wanted. Everybody else's stay.
func (c *call) setWeights(tree map[string]any, s steered, one split, want weights) {
	list, _ := tree["route"].([]any)
	view := s.object.View.routes(one.protocol)[one.index]
	written := one.encode(want)
	if !one.found(s.asked(one)).equal(want) {
		setWeight(list[one.stableAt], view, one.stableAt, written.stable)
		setWeight(list[one.canaryAt], view, one.canaryAt, written.canary)
	}
	kept := make([]any, 0, len(list)+len(want.experiments))
	for i, destination := range list {
		service := s.own.experiment(s.object, view, i, c.ends)
		wanted := slices.ContainsFunc(want.experiments, func(e share) bool { return e.service == service })
		if service == "" || wanted {
			kept = append(kept, destination)
		}
	}
	for _, e := range written.experiments {
		i := slices.IndexFunc(list, func(d any) bool { return s.destines(d, e.service, c.ends) })
		switch {
		case i < 0 || !slices.Contains(s.own.Services, e.service):
			kept = append(kept, map[string]any{
				"destination": map[string]any{"host": c.hostOf(s, e.service)}, "weight": e.weight,
			})
		case !one.found(s.asked(one)).equal(want):
			setWeight(list[i], view, i, e.weight)
		}
	}
	tree["route"] = kept
}

// destines says whether the tree of a destination goes to a Service as a whole.
func (s steered) destines(tree any, service string, e ends) bool {
	fields, _ := tree.(map[string]any)
	to, _ := fields["destination"].(map[string]any)
	host, _ := to["host"].(string)

	return to["subset"] == nil && fullHost(host, s.object.Ref.Namespace) == fullHost(service, e.namespace)
}

// hostOf is how a VirtualService names a Service of the rollout's namespace.
func (c *call) hostOf(s steered, service string) string {
	if s.object.Ref.Namespace == c.namespace {
		return service
	}

	return service + "." + c.namespace + ".svc.cluster.local"
}

func setWeight(tree any, view route, i int, weight int32) {
	if fields, ok := tree.(map[string]any); ok && view.weightOf(i) != weight {
		fields["weight"] = weight
	}
}

// asked is what a route that others leave no room in was last asked for.
func (s steered) asked(one split) weights {
	w := weights{canary: s.own.Canary, stable: total - s.own.Canary, experiments: one.experiments}
	for _, e := range w.experiments {
		w.stable -= e.weight
	}

	return w
}

// source is an HTTP route of the user that splits, as it is going to be.
type source struct {
	tree map[string]any
	split
}

// ownRoutes makes the HTTP routes of the managed routes, in order of precedence: for each one a source, except for sources
// that no request of the managed route can match.
func (c *call) ownRoutes(s steered, sources []source, routes []trafficrouter.ManagedRoute) ([]any, []managed, error) {
	var (
		made    = []any{}
		records []managed
	)
	for _, m := range routes {
		var names []string
		for _, from := range sources {
			tree, err := ownRoute(from, m)
			if err != nil {
				return nil, nil, fmt.Errorf("managed route %q beside HTTP route %s of %v: %w", m.Name, from.name, s.object.Ref, err)
			}
			if tree == nil {
				continue
			}
			tree["name"] = ownName(m.Name, len(names))
			names, made = append(names, ownName(m.Name, len(names))), append(made, tree)
		}
		records = append(records, managed{m, names})
	}

	return made, records, nil
}

// ownName is the name of a managed route's n-th HTTP route.
func ownName(route string, n int) string {
	if n == 0 {
		return route
	}

	return fmt.Sprintf("%s-%d", route, n)
}

// ownRoute is a copy of a source that only matches what the managed route does: everything else about it stays, such as
// rewrites, timeouts and retries. A header route sends to the canary alone; a mirror splits like its source and copies.
// Nil: no request can match both.
func ownRoute(from source, m trafficrouter.ManagedRoute) (map[string]any, error) {
	tree, _ := objects.Clone(from.tree).(map[string]any)
	matches, err := narrowed(tree["match"], m)
	if err != nil || matches == nil {
		return nil, err
	}
	if len(matches) > 0 {
		tree["match"] = matches
	}
	list, _ := tree["route"].([]any)
	canary, _ := objects.Clone(list[from.canaryAt]).(map[string]any)
	if m.Mirror != nil {
		if tree["mirror"] != nil || tree["mirrors"] != nil {
			return nil, fmt.Errorf("the route mirrors already, and Istio takes one kind of mirror a route: remove one of the two")
		}
		tree["mirror"] = canary["destination"]
		tree["mirrorPercentage"] = map[string]any{"value": m.Mirror.Percentage}

		return tree, nil
	}
	canary["weight"] = total
	tree["route"] = []any{canary}

	return tree, nil
}

// placed puts the rollout's own routes before those they were made from: where they are, if they are, and first of all
// otherwise. Istio takes the first route that matches. Routes of another rollout before them are no reason to change places.
func placed(s steered, trees, made []any) []any {
	var (
		foreign []any
		first   = -1 // of the foreign routes after which own ones were found
		source  = len(trees)
	)
	for i, tree := range trees {
		if s.own.by[i] != "" {
			if first < 0 {
				first = len(foreign)
			}

			continue
		}
		if slices.ContainsFunc(s.splits, func(one split) bool { return one.protocol == "http" && one.index == i }) {
			source = min(source, len(foreign))
		}
		foreign = append(foreign, tree)
	}
	if first < 0 || first > source {
		first = 0
	}

	return slices.Insert(foreign, first, made...)
}

// differs says whether a VirtualService is not in a state yet. A state that cannot be made is none.
func (c *call) differs(s steered, want state) bool {
	raw, err := s.object.JSON()
	if err != nil {
		return false
	}
	again, err := objects.Parse(raw)
	if err != nil {
		return false
	}
	s.object = &objects.Typed[virtualService]{Object: again, View: s.object.View}
	if c.reach(s, want) != nil {
		return false
	}
	_, changed, err := again.Update()

	return err == nil && changed
}
