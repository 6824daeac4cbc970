package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// state is what a route has to look like.
type state struct {
	weights

	// keep leaves the weights as they are, each rule its own.
	keep bool
	// ports are those of the experiments' Services.
	ports map[string]int32
	// routes are the managed routes in order of precedence.
	routes []trafficrouter.ManagedRoute
	// session is the session name of sticky canaries. Empty: sessions do not stick.
	session string
}

// inProgress says whether the canary gets anything at all.
func (s state) inProgress() bool { return s.canary > 0 || len(s.routes) > 0 || len(s.experiments) > 0 }

// reach edits a route until it looks as wanted: the weights of the user's rules first, then the rollout's own rules, which
// are made anew from them and come before them in the order wanted. A rule of the user keeps its place among the others.
func (c *call) reach(r steered, want state) error {
	if !r.headers {
		want.routes = nil
	}
	if !r.stickable() {
		want.session = ""
	}
	raw, _ := r.object.Value("spec", "rules")
	trees, _ := objects.Clone(raw).([]any)
	var sources []source
	for _, s := range r.splits {
		tree, ok := trees[s.rule].(map[string]any)
		if !ok || s.own {
			continue
		}
		if !want.keep {
			setWeights(tree, r.object.View.Spec.Rules[s.rule], s, want.weights)
		}
		c.setExperiments(tree, r, s, want)
		c.setSession(tree, r, want.session)
		sources = append(sources, source{tree, s})
	}

	made, routes, err := c.ownRules(r, sources, want.routes)
	if err != nil {
		return err
	}
	if len(trees) > 0 {
		r.object.Set(placed(r, trees, made), "spec", "rules")
	}
	setLabel(r.object, c.label, want.inProgress())
	left := record{Routes: routes, Session: want.session}
	for _, e := range want.experiments {
		left.Services = append(left.Services, e.service)
	}

	return left.keep(r.object.Object, c.rollout)
}

// placed puts the rollout's own rules before the rules they were made from: where they are, if they are, and first of all
// otherwise. Rules of another rollout before them are no reason to change places.
func placed(r steered, trees, made []any) []any {
	var (
		foreign []any
		first   = -1 // of the foreign rules after which own ones were found
		source  = len(trees)
	)
	for i, tree := range trees {
		if r.own.by[i] != "" {
			if first < 0 {
				first = len(foreign)
			}

			continue
		}
		if slices.ContainsFunc(r.splits, func(s split) bool { return s.rule == i }) {
			source = min(source, len(foreign))
		}
		foreign = append(foreign, tree)
	}
	if first < 0 || first > source {
		first = 0
	}

	return slices.Insert(foreign, first, made...)
}

// setExperiments puts a backendRef for each experiment into a rule, and removes those the rollout put there earlier. Who
// has the name of an experiment's Service without being recorded is the user's.
func (c *call) setExperiments(tree map[string]any, r steered, s split, want state) {
	refs, _ := tree["backendRefs"].([]any)
	view := r.object.View.Spec.Rules[s.rule]
	at := func(service string) int {
		found := refsTo(r.object, view, c.services, service)
		if !slices.Contains(r.own.Services, service) || len(found) == 0 {
			return -1
		}

		return found[0]
	}
	for _, e := range want.experiments {
		switch i := at(e.service); {
		case i >= 0 && !want.keep:
			setWeight(refs[i], view.BackendRefs[i], e.weight*int32(len(s.pairs)))
		case i < 0:
			refs = append(refs, c.experimentRef(r, e.service, want.ports[e.service], e.weight*int32(len(s.pairs))))
		}
	}
	var gone []int
	for _, service := range r.own.Services {
		if !slices.ContainsFunc(want.experiments, func(e share) bool { return e.service == service }) && at(service) >= 0 {
			gone = append(gone, at(service))
		}
	}
	slices.Sort(gone)
	for _, i := range slices.Backward(gone) {
		refs = slices.Delete(refs, i, i+1)
	}
	if refs != nil {
		tree["backendRefs"] = refs
	}
}

func (c *call) experimentRef(r steered, service string, port, weight int32) map[string]any {
	ref := map[string]any{"group": "", "kind": "Service", "name": service, "port": port, "weight": weight}
	if r.object.Ref.Namespace != c.namespace {
		ref["namespace"] = c.namespace
	}

	return ref
}

// source is a rule of the user that splits, as it is going to be.
type source struct {
	tree map[string]any
	split
}

// ownRules makes the rules of the managed routes, in order of precedence: for each route one per source, except for
// sources that no request of the route can match.
func (c *call) ownRules(r steered, sources []source, routes []trafficrouter.ManagedRoute) ([]any, []managed, error) {
	var (
		made    = []any{}
		records []managed
	)
	for _, m := range routes {
		var ids []ruleID
		for _, s := range sources {
			tree, err := ownRule(r, s, m)
			if err != nil {
				return nil, nil, fmt.Errorf("managed route %q beside rule %s of %v: %w", m.Name, s.name, r.object.Ref, err)
			}
			if tree == nil {
				continue
			}
			id := ruleID{ownName(m.Name, len(ids)), digest(tree)}
			if !r.own.nameless {
				tree["name"] = id.Name
			}
			ids, made = append(ids, id), append(made, tree)
		}
		records = append(records, managed{m, ids})
	}

	return made, records, nil
}

// ownName is the name of a managed route's n-th rule: its own, and then as Argo's plugin counts.
func ownName(route string, n int) string {
	if n == 0 {
		return route
	}

	return fmt.Sprintf("%s-%d", route, n)
}

// ownRule is a copy of a source that only matches what the managed route does: everything else about it stays, such as
// filters, timeouts and retries. A header route sends to the canary alone; a mirror splits like its source and copies.
// Nil: no request can match both.
func ownRule(r steered, s source, m trafficrouter.ManagedRoute) (map[string]any, error) {
	tree, _ := objects.Clone(s.tree).(map[string]any)
	delete(tree, "name")
	matches, err := narrowed(r.object.Ref.Kind, tree["matches"], m)
	if err != nil || len(matches) == 0 {
		return nil, err
	}
	tree["matches"] = matches
	refs, _ := tree["backendRefs"].([]any)
	first, _ := objects.Clone(refs[s.pairs[0].canary]).(map[string]any)
	if m.Mirror != nil {
		filters, _ := tree["filters"].([]any)
		tree["filters"] = append(filters, mirrorFilter(first, m.Mirror.Percentage))

		return tree, nil
	}
	var canaries []any
	for _, p := range s.pairs {
		ref, _ := refs[p.canary].(map[string]any)
		ref["weight"] = 1
		canaries = append(canaries, ref)
	}
	tree["backendRefs"] = canaries
	if r.sticks { // The session is the plugin's, and only the canary is left to stick to.
		delete(tree, "sessionPersistence")
	}

	return tree, nil
}

// mirrorFilter copies requests to a backend. 100 percent is the API's own default, which old versions know without the
// field.
func mirrorFilter(backend map[string]any, percentage int32) map[string]any {
	to := map[string]any{"group": "", "kind": "Service"}
	for _, key := range []string{"group", "kind", "name", "namespace", "port"} {
		if value, ok := backend[key]; ok {
			to[key] = value
		}
	}
	mirror := map[string]any{"backendRef": to}
	if percentage < 100 {
		mirror["percent"] = percentage
	}

	return map[string]any{"type": "RequestMirror", "requestMirror": mirror}
}

// probe brings a copy of a route to a state.
func (c *call) probe(r steered, want state) (*objects.Object, error) {
	raw, err := r.object.JSON()
	if err != nil {
		return nil, err
	}
	again, err := objects.Parse(raw)
	if err != nil {
		return nil, err
	}
	r.object = &objects.Typed[route]{Object: again, View: r.object.View}
	if err := c.reach(r, want); err != nil {
		return nil, err
	}

	return again, again.Err()
}

// differs says whether a route is not in a state yet. A state that cannot be made is none.
func (c *call) differs(r steered, want state) bool {
	there, err := c.probe(r, want)
	if err != nil {
		return false
	}
	_, changed, err := there.Update()

	return err == nil && changed
}

// residue says whether something of the rollout's own is missing in a route, edited, or left over: whether the route would
// change if it were asked for what it does already. What cannot be answered is said when it is asked for.
func (c *call) residue(r steered) bool {
	want := state{keep: true, routes: r.own.routes}
	for _, s := range r.splits {
		want.canary = max(want.canary, s.canary)
		want.experiments = s.experiments
	}
	if want.canary > 0 && c.sticky != nil && r.stickable() {
		if r.own.Session == "" {
			return true
		}
		want.session = r.own.Session
	}
	if r.own.empty() && (want.inProgress() || !marked(r.object.View, c.label)) {
		return false // Nothing of it is there but weights, which are told apart from this.
	}
	unmarked := *c
	if want.inProgress() { // A tool that takes the mark away is not worth a fight.
		unmarked.label = label{}
	}

	return unmarked.differs(r, want)
}
