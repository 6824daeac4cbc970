package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// hundred is what the weights of a list of splits add up to.
const hundred = 100

// wanted is what an object has to look like.
type wanted struct {
	// canary is its weight, everywhere; keep leaves every list as it is.
	canary int32
	keep   bool
	routes []trafficrouter.ManagedRoute
}

// reach edits a copy of an object until it looks as wanted: the weights first, then the matches of header routes, which are
// made anew from what splits. Nil: it looks so already.
func (s steered) reach(rollout string, want wanted) (*objects.Write, error) {
	raw, err := s.object.JSON()
	if err != nil {
		return nil, err
	}
	o, err := objects.Parse(raw)
	if err != nil {
		return nil, err
	}
	for _, one := range s.splits {
		if want.keep {
			continue
		}
		for at, weight := range map[int]int32{one.stableAt: hundred - want.canary, one.canaryAt: want.canary} {
			o.Set(weight, append(one.at(o.Ref.Kind), at, "weight")...)
		}
	}
	if !s.shared {
		made, err := s.place(o, want.routes)
		if err != nil {
			return nil, err
		}
		if err := (serverRecord{want.routes, made}).keep(o, rollout); err != nil {
			return nil, err
		}
	}
	write, changed, err := o.Update()
	if !changed || err != nil {
		return nil, err
	}

	return &write, nil
}

// place replaces the rollout's own matches by those of the header routes: each before the match it was made from, those of
// the route itself after the user's, which go first there too. It returns what it has put where.
func (s steered) place(o *objects.Object, routes []trafficrouter.ManagedRoute) (map[string][]json.RawMessage, error) {
	made := map[string][]json.RawMessage{}
	all, _ := o.Value("spec", field(o.Ref.Kind))
	list, _ := all.([]any)
	for i := range list {
		path := s.object.View.routes(o.Ref.Kind)[i].Path
		sources := slices.DeleteFunc(slices.Clone(s.splits), func(one split) bool { return one.route != i })
		if len(sources) == 0 && len(s.own.Matches[path]) == 0 {
			continue
		}
		had, present := o.Value("spec", field(o.Ref.Kind), i, "matches")
		matches, _ := had.([]any)
		var placed []any
		for j, match := range append(slices.Clone(matches), nil) {
			own := match != nil && s.owns(path, match)
			for _, source := range sources {
				if own || source.match != j && !(match == nil && source.match < 0) {
					continue
				}
				for _, m := range routes {
					tree, err := headerMatch(match, source.upstream, m)
					if err != nil {
						return nil, err
					}
					raw, err := json.Marshal(tree)
					if err != nil {
						return nil, fmt.Errorf("encoding a match: %w", err)
					}
					placed, made[path] = append(placed, tree), append(made[path], raw)
				}
			}
			if match != nil && !own {
				placed = append(placed, match)
			}
		}
		switch at := []any{"spec", field(o.Ref.Kind), i, "matches"}; {
		case len(placed) > 0:
			o.Set(placed, at...)
		case present && len(matches) > 0:
			o.Delete(at...)
		}
	}

	return made, nil
}

// owns says whether a match of a route is recorded as the rollout's.
func (s steered) owns(path string, match any) bool {
	return slices.ContainsFunc(s.own.Matches[path], func(raw json.RawMessage) bool { return sameJSON(raw, match) })
}

func sameJSON(raw json.RawMessage, tree any) bool {
	other, err := json.Marshal(tree)
	if err != nil {
		return false
	}
	var x, y any

	return json.Unmarshal(raw, &x) == nil && json.Unmarshal(other, &y) == nil && reflect.DeepEqual(x, y)
}

// headerMatch is a match that leads to the canary alone: the conditions of its source, if that is a match, and those of a
// header route.
func headerMatch(source any, upstream string, m trafficrouter.ManagedRoute) (map[string]any, error) {
	conditions := []any{}
	if tree, ok := source.(map[string]any); ok {
		list, _ := objects.Clone(tree["conditions"]).([]any)
		conditions = append(conditions, list...)
	}
	if m.Header == nil {
		return nil, fmt.Errorf("managed route %q is a mirror, which VirtualServers do not have", m.Name)
	}
	for _, h := range m.Header.Match {
		value, err := condition(h)
		if err != nil {
			return nil, fmt.Errorf("managed route %q: %w", m.Name, err)
		}
		conditions = append(conditions, map[string]any{"header": h.Name, "value": value})
	}

	return map[string]any{"conditions": conditions, "action": map[string]any{"pass": upstream}}, nil
}

var headerName = regexp.MustCompile(`^[-A-Za-z0-9]+$`)

// condition is a value in F5's words: plain text would ignore case, so it is a regular expression always.
func condition(h trafficrouter.HeaderMatch) (string, error) {
	if !headerName.MatchString(h.Name) {
		return "", fmt.Errorf("header %q has a name that VirtualServers do not take: use letters, digits and -", h.Name)
	}
	value := h.Value.Value
	switch h.Value.Kind {
	case trafficrouter.MatchExact:
		value = "~^" + regexp.QuoteMeta(value) + "$"
	case trafficrouter.MatchPrefix:
		value = "~^" + regexp.QuoteMeta(value)
	case trafficrouter.MatchRegex:
		value = "~^(?:" + value + ")$"
	case trafficrouter.MatchAny:
		value = "~."
	}
	plain := h.Value.Kind == trafficrouter.MatchExact || h.Value.Kind == trafficrouter.MatchPrefix
	if strings.ContainsAny(value, "\"\r\n") || plain && strings.Contains(h.Value.Value, `\`) {
		return "", fmt.Errorf("value %q of header %s has quotes, line ends or backslashes, which do not survive nginx's configuration", h.Value.Value, h.Name)
	}

	return value, nil
}
