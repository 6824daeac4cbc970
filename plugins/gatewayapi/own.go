package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// recordKey is the annotation in which a route says what in it the rollouts have put there: rules, backendRefs of
// experiments, session persistence. What is not recorded is the user's, whatever it looks like.
const recordKey = "gatewayapi.sluice.dev/owned"

// record is what one rollout has put into one route.
type record struct {
	Routes []managed `json:"routes,omitempty"`
	// Services of experiments, which have a backendRef in each rule that splits.
	Services []string `json:"services,omitempty"`
	// Session is the session name of sticky canaries, as it was last set.
	Session string `json:"session,omitempty"`
}

// managed is a managed route as it was last asked for, and the rules that make it.
type managed struct {
	trafficrouter.ManagedRoute

	Rules []ruleID `json:"rules"`
}

// ruleID recognises a rule: by name, and where the API server drops names, by its content.
type ruleID struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// owned is what of a route is one rollout's, by its record.
type owned struct {
	record

	// by is the name of the managed rule per index, empty for rules that are not the rollout's.
	by []string
	// routes are the recorded ones that have a rule in the route, in the order of their first rules.
	routes []trafficrouter.ManagedRoute
	// nameless: rules are only recognised by their content, because the API server drops rules[].name.
	nameless bool
	// taken are names of the rollout's managed routes that a rule bears which is not recorded.
	taken []string
}

// readOwned finds what of a route is the rollout's. An annotation that does not decode is no record: then rules that bear
// a managed name are reported, and left alone.
func readOwned(o *objects.Typed[route], rollout string, names []string) owned {
	own := owned{record: objects.Record[record](o.Object, recordKey, rollout), by: make([]string, len(o.View.Spec.Rules))}
	raw, _ := o.Value("spec", "rules")
	trees, _ := raw.([]any)
	for i, r := range o.View.Spec.Rules {
		for _, m := range own.Routes {
			for _, id := range m.Rules {
				byContent := r.Name == "" && i < len(trees) && digest(trees[i]) == id.Digest
				if r.Name != id.Name && !byContent || own.by[i] != "" {
					continue
				}
				own.by[i], own.nameless = id.Name, own.nameless || byContent
				if !slices.ContainsFunc(own.routes, func(have trafficrouter.ManagedRoute) bool { return have.Name == m.Name }) {
					own.routes = append(own.routes, m.ManagedRoute)
				}
			}
		}
		if own.by[i] == "" && slices.Contains(names, r.Name) && !slices.Contains(own.taken, r.Name) {
			own.taken = append(own.taken, r.Name)
		}
	}

	return own
}

// isMirror says whether the rule at an index is a mirror of the rollout, which splits like its source.
func (o owned) isMirror(rule int) bool {
	return slices.ContainsFunc(o.Routes, func(m managed) bool {
		return m.Mirror != nil && slices.ContainsFunc(m.Rules, func(id ruleID) bool { return id.Name == o.by[rule] })
	})
}

// empty says that nothing is recorded.
func (r record) empty() bool { return len(r.Routes)+len(r.Services) == 0 && r.Session == "" }

// keep replaces the rollout's record in the object, and leaves those of others.
func (r record) keep(o *objects.Object, rollout string) error {
	if r.empty() {
		return objects.SetRecord(o, recordKey, rollout, nil)
	}

	return objects.SetRecord(o, recordKey, rollout, r)
}

// digest identifies the content of a rule, its name aside.
func digest(rule any) string {
	tree, ok := objects.Clone(rule).(map[string]any)
	if !ok {
		return ""
	}
	delete(tree, "name")
	// Trees come from JSON, and maps encode with sorted keys.
	raw, _ := json.Marshal(tree)
	sum := sha256.Sum256(raw)

	return hex.EncodeToString(sum[:8])
}
