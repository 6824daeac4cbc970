package main

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// maxConditions is how many values the conditions of one rule of a load balancer may have, path and host included.
const maxConditions = 5

// state is what an Ingress is to do.
type state struct {
	weights

	routes []trafficrouter.ManagedRoute
	// ports are those of experiments.
	ports map[string]int32
	// release: an action that is not there is not made.
	release bool
}

// residue says whether anything but weights would change if the Ingress were asked for what it does already.
func (c *call) residue(s steered, release bool) (bool, error) {
	copied, err := s.object.Copy()
	if err != nil {
		return false, err
	}
	want := state{weights: s.found(), release: release, ports: map[string]int32{}}
	for _, m := range s.routes() {
		if !slices.Contains(s.taken, m.Name) {
			want.routes = append(want.routes, m)
		}
	}
	want.experiments = slices.DeleteFunc(want.experiments, func(e share) bool { return e.weight == 0 })
	for _, e := range want.experiments {
		want.ports[e.service] = c.written(s, e.service)
	}
	if err := c.reach(copied, s, want); err != nil {
		return false, err
	}
	_, changed, err := copied.Update()

	return changed, err
}

// written is the port that the action has for a Service.
func (c *call) written(s steered, service string) int32 {
	for _, g := range s.action.groups {
		if n, err := strconv.ParseInt(g.port, 10, 32); g.service == service && err == nil {
			return int32(n)
		}
	}

	return c.port
}

// reach edits an Ingress until it does what is wanted.
func (c *call) reach(o *objects.Object, s steered, want state) error {
	if err := c.reachAction(o, s, want); err != nil {
		return err
	}
	if err := c.reachRoutes(o, s, want.routes); err != nil {
		return err
	}
	kept := record{Routes: want.routes}
	for _, e := range want.experiments {
		kept.Services = append(kept.Services, e.service)
	}
	if len(kept.Routes)+len(kept.Services) == 0 {
		return objects.SetRecord(o, recordKey, c.rollout, nil)
	}

	return objects.SetRecord(o, recordKey, c.rollout, kept)
}

// reachAction brings the action of the root Service to the weights. One that splits like that already, in whatever numbers,
// stays to the byte. At a release it stays, with everything on stable: the paths of the Ingress depend on it.
func (c *call) reachAction(o *objects.Object, s steered, want state) error {
	if s.action == nil && want.release || s.action != nil && c.carries(s, want) {
		return nil
	}
	edited := newAction()
	if s.action != nil {
		edited = s.action.clone()
	}
	groups := []targetGroup{c.group(c.canary, want.canary, c.port), c.group(c.stable, want.stable, c.port)}
	for _, e := range want.experiments {
		groups = append(groups, c.group(e.service, e.weight, want.ports[e.service]))
	}
	edited.set(groups, s.record.Services)
	if !want.release {
		edited.stick(c.stickiness)
	}
	text, err := edited.text()
	if err != nil {
		return err
	}
	o.Set(text, "metadata", "annotations", c.key("actions", c.root))

	return nil
}

func (c *call) group(service string, weight, port int32) targetGroup {
	return targetGroup{service, strconv.Itoa(int(port)), weight}
}

// carries says whether the action is as it should be: shares, ports, stickiness, and no target group of an experiment that is
// over.
func (c *call) carries(s steered, want state) bool {
	got := s.found()
	sum := s.stable + s.canary
	for _, e := range s.experiments {
		sum += e.weight
	}
	if got.stable != want.stable || got.canary != want.canary || !s.hasStable || !s.hasCanary || s.others > 0 && sum != total {
		return false
	}
	if len(got.experiments) != len(want.experiments) || !want.release && !s.action.sticks(c.stickiness) {
		return false
	}
	for _, e := range want.experiments {
		if !slices.Contains(got.experiments, e) {
			return false
		}
	}
	for _, g := range s.action.groups {
		if (g.service == c.stable || g.service == c.canary) && g.port != strconv.Itoa(int(c.port)) {
			return false
		}
	}

	return true
}

// reachRoutes makes the header routes: an action to the canary, conditions, and before each path to the root Service one to
// that action. Paths of one type keep their order in the load balancer, so the copy has the type of its source.
func (c *call) reachRoutes(o *objects.Object, s steered, wanted []trafficrouter.ManagedRoute) error {
	for _, m := range s.record.Routes {
		if !slices.ContainsFunc(wanted, func(w trafficrouter.ManagedRoute) bool { return w.Name == m.Name }) {
			o.Delete("metadata", "annotations", c.key("actions", m.Name))
			o.Delete("metadata", "annotations", c.key("conditions", m.Name))
		}
	}
	for _, m := range wanted {
		conditions, err := c.conditions(s, m)
		if err != nil {
			return err
		}
		forward := newAction()
		forward.set([]targetGroup{c.group(c.canary, total, c.port)}, nil)
		text, err := forward.text()
		if err != nil {
			return err
		}
		o.Set(text, "metadata", "annotations", c.key("actions", m.Name))
		o.Set(conditions, "metadata", "annotations", c.key("conditions", m.Name))
	}
	for i, r := range s.object.View.Spec.Rules {
		whole, _ := o.Value("spec", "rules", i, "http", "paths")
		trees, _ := whole.([]any)
		var paths []any
		for j, p := range r.HTTP.Paths {
			if _, ours := s.recorded(p.Backend.Service.Name); ours && p.leads(p.Backend.Service.Name) {
				continue
			}
			if p.leads(c.root) {
				for _, m := range wanted {
					copied, _ := objects.Clone(trees[j]).(map[string]any)
					copied["backend"] = map[string]any{"service": map[string]any{"name": m.Name, "port": map[string]any{"name": useAnnotation}}}
					paths = append(paths, copied)
				}
			}
			paths = append(paths, trees[j])
		}
		if len(wanted)+len(s.record.Routes) > 0 && len(trees) > 0 {
			o.Set(paths, "spec", "rules", i, "http", "paths")
		}
	}

	return nil
}

// conditions are those of the root Service, if it has any, and the headers: all of them have to hold.
func (c *call) conditions(s steered, m trafficrouter.ManagedRoute) (string, error) {
	all, err := c.sourceConditions(s)
	if err != nil {
		return "", err
	}
	if m.Header == nil {
		return "", plugin.Unsupported("managed route %q is no header route: a load balancer does not mirror", m.Name)
	}
	for _, h := range m.Header.Match {
		value := h.Value.Value
		if h.Value.Kind == trafficrouter.MatchPrefix {
			value += "*"
		}
		all = append(all, map[string]any{"field": "http-header", "httpHeaderConfig": map[string]any{"httpHeaderName": h.Name, "values": []any{value}}})
	}

	return jsonText(all)
}

func (c *call) sourceConditions(s steered) ([]any, error) {
	key := c.key("conditions", c.root)
	text, ok := s.object.View.Metadata.Annotations[key]
	if !ok {
		return nil, nil
	}
	var all []any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, plugin.Blocked("annotation %s of %v is no list of conditions: %v", key, s.object.Ref, err)
	}

	return all, nil
}

// fits refuses a header route with more conditions than a rule takes.
func (c *call) fits(s steered, m trafficrouter.ManagedRoute) error {
	source, err := c.sourceConditions(s)
	if err != nil {
		return err
	}
	values := len(m.Header.Match)
	for _, one := range source {
		values += max(1, countValues(one))
	}
	for _, r := range s.object.View.Spec.Rules {
		for _, p := range r.HTTP.Paths {
			n := values
			if r.Host != "" {
				n++
			}
			if p.Path != "" {
				n++
			}
			if p.leads(c.root) && n > maxConditions {
				return plugin.InvalidConfig(s.path, "managed route %q before path %q of %v needs %d conditions, path and host included, and a load balancer "+
					"takes %d: match fewer headers", m.Name, p.Path, s.object.Ref, n, maxConditions)
			}
		}
	}

	return nil
}

// countValues counts the texts in the lists called values of a condition.
func countValues(node any) int {
	tree, ok := node.(map[string]any)
	if !ok {
		return 0
	}
	n := 0
	for key, inner := range tree {
		if list, ok := inner.([]any); ok && key == "values" {
			n += len(list)
		} else {
			n += countValues(inner)
		}
	}

	return n
}

// CheckHeaderRoute refuses what a load balancer cannot match: it knows wildcards, and no regular expressions.
func (router) CheckHeaderRoute(route trafficrouter.HeaderRoute) error {
	const longestName, longestValue = 40, 128
	for _, h := range route.Match {
		switch {
		case h.Name == "" || len(h.Name) > longestName:
			return plugin.InvalidConfig("", "header %q: want a name of at most %d characters", h.Name, longestName)
		case h.Value.Kind != trafficrouter.MatchExact && h.Value.Kind != trafficrouter.MatchPrefix || h.Value.Value == "":
			return plugin.InvalidConfig("", "header %s: a load balancer matches exact and prefix only", h.Name)
		case len(h.Value.Value) >= longestValue:
			return plugin.InvalidConfig("", "header %s: the value is longer than %d characters", h.Name, longestValue-1)
		}
	}

	return nil
}
