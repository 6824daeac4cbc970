package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

var exact = trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: "debug"}

func TestOnlyTheWeightsOfTheRulesChange(t *testing.T) {
	shop := manifest(t, "shop.json")
	want := shop
	for _, at := range [][3]int{{1, 1, 75}, {1, 2, 25}, {2, 1, 75}, {2, 0, 25}} {
		want = edited(t, want, at[2], "spec", "http", at[0], "backends", at[1], "weight")
	}
	stage, err := route(t, traffic(25), shop)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)
	got := stage.Writes[0].JSON
	assert.Equal(t, string(want), string(got), "other rules, backends of others, plugins, streams, unknown fields and digits stay")

	seen := observe(t, got)
	require.Len(t, seen.Observed, 2)
	for _, at := range seen.Observed {
		assert.Equal(t, traffic(25).Destinations, at.Traffic.Destinations, at.Place)
		assert.False(t, at.Residue)
	}
	stage, err = route(t, traffic(25), got)
	require.NoError(t, err)
	assert.Empty(t, stage.Writes)
}

// In Argo's example the backends have no weights: to APISIX each counts 100.
func TestBackendsWithoutWeightsShareEvenly(t *testing.T) {
	bare := manifest(t, "shop.json")
	for i := range 2 {
		bare = edited(t, bare, nil, "spec", "http", 2, "backends", i, "weight")
	}
	assert.Equal(t, int32(50), observe(t, bare).Observed[1].Traffic.Weight(trafficrouter.RoleCanary))
	stage, err := route(t, traffic(0), bare)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)
	assert.Equal(t, int32(0), observe(t, stage.Writes[0].JSON).Observed[1].Traffic.Weight(trafficrouter.RoleCanary))
}

func TestAHeaderRouteIsARouteOfItsOwnBeforeItsSource(t *testing.T) {
	shop := manifest(t, "shop.json")
	want := traffic(25)
	want.ManagedRoutes = []trafficrouter.ManagedRoute{
		header("testers", "trace", exact), header("staff", "x-team", trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: "a.b"}),
	}
	stage, err := route(t, want, shop)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 3)
	assert.Equal(t, objects.Create, stage.Writes[1].Operation)
	testers, err := objects.Parse(stage.Writes[1].JSON)
	require.NoError(t, err)
	at := func(path ...any) any {
		v, _ := testers.Value(append([]any{"spec", "http", 0}, path...)...)
		return v
	}
	assert.EqualValues(t, "12", at("priority"), "before the source, and before the route behind it")
	assert.Len(t, at("match", "exprs"), 2, "what the source asks for, and the header")
	assert.Equal(t, map[string]any{"subject": map[string]any{"scope": "Header", "name": "trace"}, "op": "Equal", "value": "debug"}, at("match", "exprs", 1))
	assert.Len(t, at("backends"), 1)
	assert.Equal(t, "web-canary", at("backends", 0, "serviceName"))
	assert.NotNil(t, at("plugins"), "what the source does for requests is done for these too")
	_, stream := testers.Value("spec", "stream")
	assert.False(t, stream)
	staff, err := objects.Parse(stage.Writes[2].JSON)
	require.NoError(t, err)
	value, _ := staff.Value("spec", "http", 0, "match", "exprs", 1, "value")
	assert.Equal(t, `^a\.b`, value)

	shop = stage.Writes[0].JSON
	first, second := owned(t, stage.Writes[1].JSON), owned(t, stage.Writes[2].JSON)
	seen := observe(t, shop, first, second)
	assert.Equal(t, want.ManagedRoutes, seen.Observed[0].Traffic.ManagedRoutes)
	assert.False(t, seen.Observed[0].Residue)

	// What the API server adds is no difference; what a person changes is, there and in the source.
	assert.False(t, observe(t, shop, edited(t, first, false, "spec", "http", 0, "websocket"), second).Observed[0].Residue)
	assert.True(t, observe(t, shop, edited(t, first, "other", "spec", "http", 0, "backends", 0, "serviceName"), second).Observed[0].Residue)
	assert.True(t, observe(t, edited(t, shop, nil, "spec", "http", 1, "plugins"), first, second).Observed[0].Residue)

	// The other order is another priority; one that is not wanted goes.
	want.ManagedRoutes = []trafficrouter.ManagedRoute{want.ManagedRoutes[1], want.ManagedRoutes[0]}
	stage, err = route(t, want, shop, first, second)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 2)
	assert.Equal(t, objects.Update, stage.Writes[0].Operation)
	want.ManagedRoutes = want.ManagedRoutes[:1]
	stage, err = route(t, want, shop, first, second)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)
	assert.Equal(t, objects.Delete, stage.Writes[0].Operation)
}

func TestARouteOfTheUserWithTheNameOfAHeaderRouteIsLeftAlone(t *testing.T) {
	shop := manifest(t, "shop.json")
	theirs := edited(t, shop, "testers", "metadata", "name")
	routes := []trafficrouter.ManagedRoute{header("testers", "trace", exact)}
	assert.ErrorContains(t, validate(t, block, routes, shop, theirs), "is not this rollout's")
	assert.Empty(t, observe(t, shop, theirs).Observed[0].Traffic.ManagedRoutes)
	want := traffic(10)
	_, err := route(t, want, shop, theirs)
	assert.NoError(t, err, "weights go on")
	want.ManagedRoutes = routes
	_, err = route(t, want, shop, theirs)
	assert.ErrorContains(t, err, "rename it")
}

// A rollout that comes from Argo in the middle of an update has a route without our record: it takes traffic, and is made new.
func TestARouteWithoutARecordCountsAsTraffic(t *testing.T) {
	shop := manifest(t, "shop.json")
	argos := owned(t, edited(t, edited(t, shop, "testers", "metadata", "name"), nil, "metadata", "annotations"))
	seen := observe(t, shop, argos).Observed[0]
	assert.True(t, seen.Residue)
	assert.Len(t, seen.Traffic.ManagedRoutes, 1)
	want := traffic(0)
	want.ManagedRoutes = []trafficrouter.ManagedRoute{header("testers", "trace", exact)}
	stage, err := route(t, want, shop, argos)
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)
	assert.Equal(t, want.ManagedRoutes, observe(t, shop, stage.Writes[0].JSON).Observed[0].Traffic.ManagedRoutes)
}

func TestMistakesAreNamedBeforeAnythingMoves(t *testing.T) {
	shop := manifest(t, "shop.json")
	assert.NoError(t, validate(t, block, []trafficrouter.ManagedRoute{header("testers", "trace", exact)}, shop))
	only := func(rule string) string { return `{"route":{"name":"web","rules":["` + rule + `"]}}` }
	for message, of := range map[string]struct {
		config string
		raw    []byte
	}{
		"none of them named like it":           {`{"route":{"name":"web"}}`, shop},
		`has no HTTP rule "mian"`:              {only("mian"), shop},
		`no backend for Service "web-stable"`:  {only("docs"), shop},
		`no backend for Service "web-canary"`:  {only("main"), edited(t, shop, nil, "spec", "http", 1, "backends", 2)},
		"several backends for one":             {only("api"), edited(t, shop, map[string]any{"serviceName": "web-stable"}, "spec", "http", 2, "backends", 2)},
		"sum to 150":                           {only("main"), edited(t, shop, 50, "spec", "http", 1, "backends", 2, "weight")},
		"is missing: name the ApisixRoute":     {`{}`, shop},
		"a second time":                        {`{"route":{"name":"web","rules":["main","main"]}}`, shop},
		"want 0 or more":                       {`{"route":{"name":"web"},"drainSeconds":-1}`, shop},
		"want the name of an HTTP rule":        {only(""), shop},
		"is empty: want the name of an Apisix": {`{"route":{"name":""}}`, shop},
	} {
		err := validate(t, of.config, nil, of.raw)
		assert.ErrorContains(t, err, message)
		assert.NotEmpty(t, plugin.Violations(err), message)
	}
	assert.NoError(t, validate(t, `{"route":{"name":"web"}}`, nil, edited(t, shop, "web", "spec", "http", 1, "name")), "the rule named like the route")
	assert.NoError(t, validate(t, `{"route":{"name":"web"}}`, nil,
		edited(t, edited(t, shop, nil, "spec", "http", 2), nil, "spec", "http", 0)), "the only rule")
	assert.Error(t, validate(t, block, []trafficrouter.ManagedRoute{header("Testers_", "trace", exact)}, shop))
	assert.Error(t, router{}.CheckHeaderRoute(trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{{Name: "x"}}}))
}

func TestWithoutTheCanarysBackendTrafficIsBack(t *testing.T) {
	bare := edited(t, manifest(t, "shop.json"), nil, "spec", "http", 1, "backends", 2)
	assert.Equal(t, traffic(0).Destinations, observe(t, bare).Observed[0].Traffic.Destinations)
	stage, err := route(t, traffic(0), bare)
	require.NoError(t, err)
	assert.Empty(t, stage.Writes)
	_, err = route(t, traffic(10), bare)
	assert.ErrorContains(t, err, "add one")
}
