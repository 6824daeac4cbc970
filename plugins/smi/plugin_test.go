package main

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

var (
	target = plugin.Target{Namespace: "shop", Name: "web", UID: "u", StableService: "web-stable", CanaryService: "web-canary"}
	update = flag.Bool("update", false, "rewrite the conformance report")
)

// split is a TrafficSplit of the rollout as another version of the API and another person left it.
const split = `{"apiVersion":"split.smi-spec.io/v1alpha3","kind":"TrafficSplit","metadata":{"name":"web","namespace":"shop",
	"resourceVersion":"7","ownerReferences":[{"uid":"u","controller":true}]},
	"spec":{"service":"web","matches":[{"kind":"HTTPRouteGroup","name":"chrome"}],"backends":[{"service":"web-stable","weight":3,"note":1.50},{"service":"web-canary","weight":1}]}}`

const withRoot = `{"rootService":"web"}`

// inputs shows a TrafficSplit, or none, served as a version; and the root Services.
func inputs(t *testing.T, version string, raw string) *objects.Inputs {
	t.Helper()
	need := objects.Need{Group: group, Kind: "TrafficSplit", Versions: versions, Namespace: "shop", Name: "web"}
	all := []*typesv1.NeedResult{{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: group + "/" + version}}
	if raw != "" {
		all[0].Objects = []*typesv1.Object{{Json: []byte(raw)}}
	}
	for _, name := range []string{"web", "web-stable"} {
		need := objects.Need{Kind: "Service", Versions: []string{"v1"}, Namespace: "shop", Name: name}
		all = append(all, &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, Objects: []*typesv1.Object{
			{Json: []byte(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"` + name + `","namespace":"shop"}}`)}}})
	}
	in, err := objects.NewInputs(all)
	require.NoError(t, err)

	return in
}

func observe(t *testing.T, config, raw string, releasing bool) trafficrouter.Observed {
	t.Helper()
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(config), TotalWeight: 100, Inputs: inputs(t, "v1alpha2", raw), Releasing: releasing,
	})
	require.NoError(t, err)

	return seen.Observed[0]
}

func traffic(canary int32) trafficrouter.Traffic {
	return trafficrouter.Traffic{TotalWeight: 100, Destinations: []trafficrouter.Destination{
		{Role: trafficrouter.RoleStable, Service: "web-stable", Weight: 100 - canary},
		{Role: trafficrouter.RoleCanary, Service: "web-canary", Weight: canary},
	}}
}

func route(t *testing.T, config string, want trafficrouter.Traffic, release bool, raw string) []objects.Write {
	t.Helper()
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
		Target: target, Config: []byte(config), Traffic: want, Release: release, Inputs: inputs(t, "v1alpha1", raw),
	})
	require.NoError(t, err)

	return stage.Writes
}

func validate(t *testing.T, config, raw string, pingPong bool) error {
	t.Helper()

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: target, Config: []byte(config),
		Envelope: trafficrouter.Envelope{TotalWeight: 100, PingPong: pingPong}, Inputs: inputs(t, "v1alpha2", raw)})
}

func TestASplitIsMadeInTheVersionThatIsServed(t *testing.T) {
	want := traffic(5)
	want.Destinations[0].Weight = 85
	want.Destinations = append(want.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: "web-exp", Weight: 10})
	writes := route(t, withRoot, want, false, "")
	require.Len(t, writes, 1)
	assert.Equal(t, objects.Create, writes[0].Operation)
	assert.JSONEq(t, `{"apiVersion":"split.smi-spec.io/v1alpha1","kind":"TrafficSplit","metadata":{"name":"web","namespace":"shop"},"spec":{"service":"web",
		"backends":[{"service":"web-canary","weight":5},{"service":"web-exp","weight":10},{"service":"web-stable","weight":85}]}}`, string(writes[0].JSON))
}

// A root Service of its own selects the pods of all revisions: without a split the canary would have its share of them before
// its first step.
func TestASplitIsThereBeforeTheFirstCanary(t *testing.T) {
	seen := observe(t, withRoot, "", false)
	assert.True(t, seen.Residue)
	writes := route(t, withRoot, traffic(0), false, "")
	require.Len(t, writes, 1)
	assert.Equal(t, objects.Create, writes[0].Operation)

	assert.False(t, observe(t, `{}`, "", false).Residue, "the stable Service selects stable alone")
	assert.Empty(t, route(t, `{}`, traffic(0), false, ""))
}

func TestWhatIsNotAboutTheSplitStays(t *testing.T) {
	seen := observe(t, withRoot, split, false)
	assert.ElementsMatch(t, traffic(25).Destinations, seen.Traffic.Destinations)
	assert.False(t, seen.Residue)
	assert.Empty(t, route(t, withRoot, traffic(25), false, split), "3 to 1 is 75 to 25")

	writes := route(t, withRoot, traffic(40), false, split)
	require.Len(t, writes, 1)
	o, err := objects.Parse(writes[0].JSON)
	require.NoError(t, err)
	backends, _ := o.Value("spec", "backends")
	raw, err := o.JSON()
	require.NoError(t, err)
	assert.Len(t, backends, 2)
	assert.Contains(t, string(raw), `{"note":1.50,"service":"web-stable","weight":60},{"service":"web-canary","weight":40}`)
	assert.Contains(t, string(raw), `"matches":[{"kind":"HTTPRouteGroup","name":"chrome"}]`)
}

func TestBackendsNobodyAskedForAreRemoved(t *testing.T) {
	edited, err := objects.Parse([]byte(split))
	require.NoError(t, err)
	edited.Insert(0, map[string]any{"service": "old-experiment", "weight": "500m"}, "spec", "backends")
	raw, err := edited.JSON()
	require.NoError(t, err)
	seen := observe(t, withRoot, string(raw), false)
	assert.Equal(t, int32(20), seen.Traffic.Weight(trafficrouter.RoleExperiment), "a quantity nobody can read is traffic")
	writes := route(t, withRoot, traffic(25), false, string(raw))
	require.Len(t, writes, 1)
	assert.NotContains(t, string(writes[0].JSON), "old-experiment")
}

func TestAReleaseGivesBackFirstAndRemovesThen(t *testing.T) {
	assert.True(t, observe(t, withRoot, split, true).Residue)
	writes := route(t, withRoot, traffic(0), true, split)
	require.Len(t, writes, 1)
	assert.Equal(t, objects.Update, writes[0].Operation)
	writes = route(t, withRoot, traffic(0), true, string(writes[0].JSON))
	require.Len(t, writes, 1)
	assert.Equal(t, objects.Delete, writes[0].Operation)
	assert.False(t, observe(t, withRoot, "", true).Residue)
	assert.Empty(t, route(t, withRoot, traffic(0), true, ""))
}

func TestMistakesAreNamedBeforeAnythingMoves(t *testing.T) {
	assert.NoError(t, validate(t, `{}`, "", false))
	assert.NoError(t, validate(t, withRoot, split, true))
	assert.Contains(t, plugin.Violations(validate(t, `{}`, "", true)), "rootService")
	foreign := `{"apiVersion":"split.smi-spec.io/v1alpha2","kind":"TrafficSplit","metadata":{"name":"web","namespace":"shop"},"spec":{}}`
	err := validate(t, `{}`, foreign, false)
	assert.ErrorContains(t, err, "is not this rollout's")
	assert.Contains(t, plugin.Violations(err), "trafficSplitName")
	_, err = parseConfig([]byte(`{"drainSeconds":-1}`), target)
	assert.Contains(t, plugin.Violations(err), "drainSeconds")
}
