package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// recordKey is the annotation in which an ApisixRoute of ours says which header route it is.
const recordKey = "apisix.sluice.dev/route"

// record is a managed route as it was last asked for, and a digest of the spec that was made of it: what the API server adds
// to a spec is no difference, what somebody removed from the source is.
type record struct {
	trafficrouter.ManagedRoute

	Of string `json:"of"`
}

var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// CheckHeaderRoute accepts exact, prefix and regex; APISIX tests for presence in another way.
func (router) CheckHeaderRoute(route trafficrouter.HeaderRoute) error {
	for _, h := range route.Match {
		if h.Name == "" {
			return plugin.InvalidConfig("", "a header has no name")
		}
		if h.Value.Kind == trafficrouter.MatchAny {
			return plugin.InvalidConfig("", "header %q has no value to match: give it exact, prefix or regex", h.Name)
		}
	}

	return nil
}

// checkNames: each header route is an ApisixRoute of its own, and its name has to be free.
func (c *call) checkNames() error {
	for _, name := range c.names {
		if !objectName.MatchString(name) {
			return plugin.InvalidConfig("", "managed route %q becomes the name of an ApisixRoute: use lower-case letters, digits and dashes", name)
		}
		if o := c.own[name]; o != nil && !o.OwnedBy(c.target.UID) {
			return plugin.InvalidConfig("", "%v is there already and is not this rollout's: rename it, or the managed route", o.Ref)
		}
	}

	return nil
}

// managed are the header routes that are there, highest precedence first, and whether one of them is not as it was asked for
// and its source is now.
func (c *call) managed() ([]trafficrouter.ManagedRoute, bool, error) {
	type found struct {
		route    trafficrouter.ManagedRoute
		priority int64
	}
	var (
		all     []found
		residue bool
	)
	for _, name := range c.names {
		o := c.own[name]
		if o == nil || !o.OwnedBy(c.target.UID) {
			continue
		}
		one := found{route: recorded(o).ManagedRoute}
		if one.route.Name != name || one.route.Header == nil { // Not ours to read: it takes traffic all the same.
			one.route = trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{}}
			residue = true
		}
		if rules := o.View.Spec.HTTP; len(rules) > 0 {
			one.priority = rules[0].Priority
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.priority, a.priority) })
	var routes []trafficrouter.ManagedRoute
	for _, one := range all {
		routes = append(routes, one.route)
	}
	for i, m := range routes {
		spec, err := c.render(m, len(routes)-i)
		if err != nil {
			return nil, false, err
		}
		residue = residue || c.differs(c.own[m.Name], spec)
	}

	return routes, residue, nil
}

func recorded(o *objects.Typed[apisixRoute]) record {
	var r record
	if json.Unmarshal([]byte(o.View.Metadata.Annotations[recordKey]), &r) != nil {
		return record{}
	}

	return r
}

// differs says whether an ApisixRoute of ours was made of another spec, or has been edited since.
func (c *call) differs(o *objects.Typed[apisixRoute], spec map[string]any) bool {
	have, _ := o.Value("spec")

	return recorded(o).Of != digest(spec) || !covers(have, spec)
}

// covers says whether have is want, and perhaps more in its objects.
func covers(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for key, inner := range w {
			if !covers(h[key], inner) {
				return false
			}
		}

		return true
	case []any:
		h, ok := have.([]any)

		return ok && slices.EqualFunc(h, w, covers)
	default:
		return fmt.Sprint(have) == fmt.Sprint(want)
	}
}

func digest(spec map[string]any) string {
	raw, _ := json.Marshal(spec) // a tree that was read from JSON
	sum := sha256.Sum256(raw)

	return hex.EncodeToString(sum[:8])
}

// route are the writes that make the header routes what they should be.
func (c *call) route(in *objects.Inputs, wanted []trafficrouter.ManagedRoute) ([]objects.Write, error) {
	var writes []objects.Write
	for i, m := range wanted {
		spec, err := c.render(m, len(wanted)-i)
		if err != nil {
			return nil, err
		}
		write, changed, err := c.write(in, m, spec)
		if err != nil {
			return nil, err
		}
		if changed {
			writes = append(writes, write)
		}
	}
	for _, name := range c.names {
		o := c.own[name]
		gone := !slices.ContainsFunc(wanted, func(m trafficrouter.ManagedRoute) bool { return m.Name == name })
		if o == nil || !gone || !o.OwnedBy(c.target.UID) {
			continue
		}
		write, err := objects.NewDelete(o.Object)
		if err != nil {
			return nil, err
		}
		writes = append(writes, write)
	}

	return writes, nil
}

func (c *call) write(in *objects.Inputs, m trafficrouter.ManagedRoute, spec map[string]any) (objects.Write, bool, error) {
	raw, err := json.Marshal(record{m, digest(spec)})
	if err != nil {
		return objects.Write{}, false, fmt.Errorf("recording managed route %q: %w", m.Name, err)
	}
	o := c.own[m.Name]
	switch {
	case o == nil:
		version, err := in.APIVersion(c.need)
		if err != nil {
			return objects.Write{}, false, err
		}
		write, err := objects.NewCreate(map[string]any{
			"apiVersion": version, "kind": "ApisixRoute", "spec": spec,
			"metadata": map[string]any{"namespace": c.need.Namespace, "name": m.Name, "annotations": map[string]any{recordKey: string(raw)}},
		})

		return write, true, err
	case !o.OwnedBy(c.target.UID):
		return objects.Write{}, false, plugin.Blocked("%v has the name of a managed route and is not this rollout's: rename it, or the managed route", o.Ref)
	}
	if c.differs(o, spec) {
		o.Set(spec, "spec")
	}
	o.Set(string(raw), "metadata", "annotations", recordKey)

	return o.Update()
}

// render is the spec of a header route: the rules that split, before their sources, for requests that match the headers too,
// to the canary alone. Above is by how much its priority is higher.
func (c *call) render(m trafficrouter.ManagedRoute, above int) (map[string]any, error) {
	if m.Header == nil {
		return nil, plugin.Unsupported("managed route %q is no header route: APISIX mirrors by a plugin of the rule", m.Name)
	}
	whole, _ := c.object.Value("spec")
	spec, ok := objects.Clone(whole).(map[string]any)
	if !ok {
		return nil, plugin.Blocked("%v has no spec", c.object.Ref)
	}
	delete(spec, "stream") // Headers are HTTP's.
	var rules []any
	for _, s := range c.splits {
		if s.canaryAt < 0 {
			return nil, plugin.Blocked("%v", c.lacks(s, c.canary))
		}
		source, _ := c.object.Value("spec", "http", s.index)
		tree, _ := objects.Clone(source).(map[string]any)
		backends, _ := tree["backends"].([]any)
		only, _ := backends[s.canaryAt].(map[string]any)
		only["weight"] = json.Number("100")
		tree["backends"] = []any{only}
		tree["priority"] = json.Number(fmt.Sprint(c.object.View.Spec.HTTP[s.index].Priority + int64(above)))
		match, _ := tree["match"].(map[string]any)
		if match == nil {
			match = map[string]any{}
		}
		exprs, _ := match["exprs"].([]any)
		for _, h := range m.Header.Match {
			exprs = append(exprs, expr(h))
		}
		match["exprs"] = exprs
		tree["match"] = match
		rules = append(rules, tree)
	}
	spec["http"] = rules

	return spec, nil
}

// expr is APISIX's form of a match. All expressions of a rule have to hold.
func expr(h trafficrouter.HeaderMatch) map[string]any {
	op, value := "Equal", h.Value.Value
	switch h.Value.Kind {
	case trafficrouter.MatchPrefix:
		op, value = "RegexMatch", "^"+regexp.QuoteMeta(value)
	case trafficrouter.MatchRegex:
		op = "RegexMatch"
	case trafficrouter.MatchAny, trafficrouter.MatchExact:
	}

	return map[string]any{"subject": map[string]any{"scope": "Header", "name": h.Name}, "op": op, "value": value}
}
