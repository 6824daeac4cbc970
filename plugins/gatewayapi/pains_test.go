package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// What users of Argo's Gateway API plugin suffer from, one test a point. The numbers are those of the list this plugin was
// designed from.

func header(name, key string, value trafficrouter.StringMatch) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{{Name: key, Value: value}}}}
}

func exactly(value string) trafficrouter.StringMatch {
	return trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: value}
}

func mirror(name string, percentage int32, match ...trafficrouter.RequestMatch) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Mirror: &trafficrouter.MirrorRoute{Percentage: percentage, Match: match}}
}

// with adds managed routes to a traffic; names are all that the rollout declares.
func with(t trafficrouter.Traffic, names string, routes ...trafficrouter.ManagedRoute) trafficrouter.Traffic {
	t.ManagedNames, t.ManagedRoutes = strings.Fields(names), routes

	return t
}

// at asks for a state of one route and returns the route, written or not.
func at(t *testing.T, config string, raw []byte, want trafficrouter.Traffic) []byte {
	t.Helper()
	for _, wrote := range send(t, config, inputs(t, raw), want) {
		raw = wrote
	}

	return raw
}

func rules(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var o struct {
		Spec struct{ Rules []map[string]any }
	}
	require.NoError(t, json.Unmarshal(raw, &o))

	return o.Spec.Rules
}

func names(t *testing.T, raw []byte) string {
	t.Helper()
	var all []string
	for _, r := range rules(t, raw) {
		all = append(all, fmt.Sprint(r["name"]))
	}

	return strings.Join(all, " ")
}

// simple is a route with one rule of both Services.
func simple(t *testing.T) []byte {
	t.Helper()

	return routeJSON("HTTPRoute", "web", `[{"name":"main","matches":[{"path":{"type":"PathPrefix","value":"/"}}],
		"backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":80,"weight":0}]}]`)
}

func validate(t *testing.T, config string, raw []byte, envelope trafficrouter.Envelope) error {
	t.Helper()
	if envelope.TotalWeight == 0 {
		envelope.TotalWeight = 100
	}

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{
		Target: target, Config: []byte(config), Inputs: inputs(t, raw), Envelope: envelope,
	})
}

func TestPain1VerifiedMeansAcceptedByEveryParent(t *testing.T) {
	shop := manifest(t, "shop.json")
	assert.Equal(t, trafficrouter.Done, observe(t, web, inputs(t, shop)).Convergence)
	later := edited(t, shop, set(8, "metadata", "generation"))
	assert.Equal(t, trafficrouter.Pending, observe(t, web, inputs(t, later)).Convergence)
}

func TestPain2RemovingOneManagedRouteLeavesTheOthers(t *testing.T) {
	a, b := header("a", "x-a", exactly("1")), header("b", "x-b", exactly("1"))
	both := at(t, web, simple(t), with(traffic(100, 10), "a b", a, b))
	require.Equal(t, "a b main", names(t, both))

	assert.Equal(t, "b main", names(t, at(t, web, both, with(traffic(100, 10), "a b", b))))
}

func TestPain3ACanaryOnlyRuleOfTheUserIsNeverTaken(t *testing.T) {
	shop := manifest(t, "shop.json")
	a := header("a", "x-a", exactly("1"))
	there := at(t, web, shop, with(traffic(100, 10), "a", a))
	require.Contains(t, names(t, there), "users-own")

	back := release(t, web, inputs(t, there))[0]
	assert.Equal(t, pretty(t, edited(t, shop, weight(2, 0, 100))), pretty(t, back))
}

func TestPain4BackendsAreMatchedByGroupKindNamespaceAndPort(t *testing.T) {
	before := manifest(t, "shop.json")
	after := at(t, web, before, traffic(100, 25))
	for _, foreign := range []int{0, 3} { // Function web-canary, and web-canary of another namespace.
		was := rules(t, before)[1]["backendRefs"].([]any)[foreign]
		assert.Equal(t, was, rules(t, after)[1]["backendRefs"].([]any)[foreign])
	}
}

func TestPain5StableGetsTheRestOfTheTotalBesideExperiments(t *testing.T) {
	want := traffic(1000, 300)
	want.Destinations[0].Weight = 600
	want.Destinations = append(want.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: "web-exp", Weight: 100})
	in := append(results(t, false, simple(t)), results(t, false, []byte(experimentService))...)

	wrote := send(t, web, wireInputs(t, in...), want)
	require.Len(t, wrote, 1)
	refs := rules(t, wrote[0])[0]["backendRefs"].([]any)
	require.Len(t, refs, 3)
	for i, w := range []float64{600, 300, 100} {
		assert.EqualValues(t, w, refs[i].(map[string]any)["weight"])
	}
	assert.EqualValues(t, 8080, refs[2].(map[string]any)["port"], "a port the experiment's Service has")

	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(web), TotalWeight: 1000, Inputs: inputs(t, wrote[0]),
	})
	require.NoError(t, err)
	assert.Equal(t, int32(100), seen.Observed[0].Traffic.Weight(trafficrouter.RoleExperiment))
	assert.False(t, seen.Observed[0].Residue)
	gone := at(t, web, wrote[0], traffic(100, 30))
	assert.Len(t, rules(t, gone)[0]["backendRefs"], 2)
}

func TestPain6AHeaderRuleKeepsEverythingOfItsSource(t *testing.T) {
	there := at(t, web, manifest(t, "shop.json"), with(traffic(100, 0), "a", header("a", "x-a", exactly("1"))))
	got := rules(t, there)
	source := got[3] // Behind a, a-1 and the user's first rule.
	require.Equal(t, "main", source["name"])
	for _, field := range []string{"filters", "timeouts", "retry", "sessionPersistence"} {
		assert.Equal(t, source[field], got[0][field], field)
	}
	refs := got[0]["backendRefs"].([]any)
	require.Len(t, refs, 1)
	assert.Equal(t, []any{1.0, 2.5}, refs[0].(map[string]any)["unknownToPlugin"])
}

func TestPain7PrefixesAreEscaped(t *testing.T) {
	prefix := trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: "v1.(2)"}
	there := at(t, web, simple(t), with(traffic(100, 0), "a", header("a", "x-a", prefix)))
	assert.Contains(t, string(there), `"type":"RegularExpression","value":"^v1\\.\\(2\\).*"`)
	seen := observe(t, web, inputs(t, there))
	assert.Equal(t, prefix, seen.Observed[0].Traffic.ManagedRoutes[0].Header.Match[0].Value, "and read back as the prefix it was")
}

func TestPain8ManagedRoutesAreInTheirOrder(t *testing.T) {
	a, b := header("a", "x-a", exactly("1")), mirror("b", 100)
	there := at(t, web, simple(t), with(traffic(100, 0), "a b", a, b))
	assert.Equal(t, "a b main", names(t, there))
	assert.Equal(t, "b a main", names(t, at(t, web, there, with(traffic(100, 0), "a b", b, a))))
}

func TestPain9MirrorsMirror(t *testing.T) {
	get := trafficrouter.RequestMatch{Method: exactly("GET"), Path: trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: "/api"}}
	there := at(t, web, simple(t), with(traffic(100, 30), "m", mirror("m", 40, get)))
	copied, err := json.Marshal(rules(t, there)[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"m","matches":[{"method":"GET","path":{"type":"PathPrefix","value":"/api"}}],
		"filters":[{"type":"RequestMirror","requestMirror":{"percent":40,"backendRef":{"group":"","kind":"Service","name":"web-canary","port":80}}}],
		"backendRefs":[{"name":"web-stable","port":80,"weight":70},{"name":"web-canary","port":80,"weight":30}]}`, string(copied))

	seen := observe(t, web, inputs(t, there))
	require.Len(t, seen.Observed, 2, "a mirror carries weight too")
	assert.Equal(t, "HTTPRoute/shop/web rule=m", seen.Observed[0].Place)
	assert.Equal(t, int32(30), seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
}

// 10: the context of a call, patches instead of updates, and no reads of its own: the host's, because the plugin has no
// client. What is left to it is to ask for no more than it needs, and to write from exactly what it was shown.
func TestPain10WritesCarryTheVersionTheyWereMadeFrom(t *testing.T) {
	wrote := send(t, web, inputs(t, manifest(t, "shop.json")), traffic(100, 10))
	o, err := objects.Parse(wrote[0])
	require.NoError(t, err)
	assert.Equal(t, "1001", o.ResourceVersion)
}

func TestPain11NothingIsWrittenThatIsThereAlready(t *testing.T) {
	want := with(traffic(100, 10), "a m", header("a", "x-a", exactly("1")), mirror("m", 10))
	there := at(t, web, manifest(t, "shop.json"), want)
	assert.Empty(t, send(t, web, inputs(t, there), want))
	for _, o := range observe(t, web, inputs(t, there)).Observed {
		assert.False(t, o.Residue, o.Place)
	}
}

func TestPain12LimitsAreCheckedBeforeTheFirstWeightMoves(t *testing.T) {
	manyRules := func(n int, matches string) []byte {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"name":"r%d","matches":[%s],"backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":80}]}`, i, matches))
		}

		return routeJSON("HTTPRoute", "web", "["+strings.Join(all, ",")+"]")
	}
	root := `{"path":{"type":"PathPrefix","value":"/"}}`
	a := header("a", "x-a", exactly("1"))
	for name, tc := range map[string]struct {
		route    []byte
		envelope trafficrouter.Envelope
		want     string
	}{
		"rules": {manyRules(9, root), trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{a}}, "18 rules of at most 16"},
		"matches of a route": {
			manyRules(2, strings.TrimSuffix(strings.Repeat(root+",", 40), ",")),
			trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{a}}, "160 matches in all rules of at most 128",
		},
		"matches of a rule": {
			manyRules(1, strings.TrimSuffix(strings.Repeat(root+",", 40), ",")),
			trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{mirror("m", 1, trafficrouter.RequestMatch{Method: exactly("GET")}, trafficrouter.RequestMatch{Method: exactly("PUT")})}},
			"rule m has 80 matches of at most 64",
		},
		"backendRefs": {manyRules(1, root), trafficrouter.Envelope{MaxExperiments: 15}, "rule r0 has 17 backendRefs of at most 16"},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(t, web, tc.route, tc.envelope)
			require.Error(t, err)
			assert.Contains(t, plugin.Violations(err)["httpRoute"], tc.want)
		})
	}
	assert.NoError(t, validate(t, web, manyRules(8, root), trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{a}}))
}

func TestPain13StreamRoutesAreUsedInTheVersionThatIsServed(t *testing.T) {
	for _, k := range (config{}).kinds() {
		assert.Equal(t, "v1", k.versions[0], k.kind)
		if !takesRules(k.kind) {
			assert.Contains(t, k.versions, "v1alpha2", k.kind)
		}
	}
}

// 14: CRDs older than Gateway API 1.4 drop the names of rules. Own rules are then recognised by the content that was
// recorded, and a person is told.
func TestPain14OldCRDsThatDropRuleNames(t *testing.T) {
	want := with(traffic(100, 10), "a", header("a", "x-a", exactly("1")))
	there := at(t, web, simple(t), want)
	pruned := edited(t, there, edit{nil, []any{"spec", "rules", 0, "name"}}, edit{nil, []any{"spec", "rules", 1, "name"}})

	seen := observe(t, web, inputs(t, pruned))
	require.Len(t, seen.Observed, 1)
	assert.Equal(t, "HTTPRoute/shop/web rule=#0", seen.Observed[0].Place, "counted without the plugin's own")
	assert.Equal(t, want.ManagedRoutes, seen.Observed[0].Traffic.ManagedRoutes)
	assert.False(t, seen.Observed[0].Residue)
	assert.Empty(t, send(t, web, inputs(t, pruned), want))
	require.NoError(t, validate(t, web, pruned, trafficrouter.Envelope{}))
	o := typed(t, pruned)
	c := &call{}
	assert.Contains(t, c.remarks(steered{object: o, own: readOwned(o, "shop/web", nil)}), "install the CRDs of Gateway API 1.4 or newer")

	back := release(t, web, inputs(t, pruned))[0]
	assert.Len(t, rules(t, back), 1)
	assert.NotContains(t, string(back), recordKey)
}
