package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// services are names and weights of the entries in their order.
func services(t *testing.T, raw []byte) (found []string, weights []any) {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	all, _ := o.Value(list...)
	for _, one := range all.([]any) {
		tree := one.(map[string]any)
		found, weights = append(found, tree["name"].(string)), append(weights, tree["weight"])
	}

	return found, weights
}

func TestOnlyTheTwoWeightsChange(t *testing.T) {
	shop := manifest(t, "shop.json")
	want := edited(t, edited(t, shop, 75, "spec", "weighted", "services", 1, "weight"), 25, "spec", "weighted", "services", 3, "weight")
	got := after(t, traffic(25), shop)
	assert.Equal(t, string(want), string(got), "entries of other kinds, namespaces and applications, the cookie, unknown fields and digits stay")

	seen := observe(t, got)
	assert.Equal(t, traffic(25).Destinations, seen.Observed[0].Traffic.Destinations)
	assert.False(t, seen.Observed[0].Residue)
	assert.Equal(t, 3*time.Second, seen.Settle, "Traefik collects changes for two seconds before it serves them")
	stage, err := route(t, traffic(25), got)
	require.NoError(t, err)
	assert.Empty(t, stage.Writes)
}

func TestTheSameSplitInOtherNumbersIsLeftAlone(t *testing.T) {
	alone := edited(t, manifest(t, "shop.json"), []any{
		map[string]any{"name": "web-stable", "weight": 3}, map[string]any{"name": "web-canary"}, // Traefik's default is 1
	}, list...)
	seen := observe(t, alone)
	assert.Equal(t, traffic(25).Destinations, seen.Observed[0].Traffic.Destinations)
	stage, err := route(t, traffic(25), alone)
	require.NoError(t, err)
	assert.Empty(t, stage.Writes)
	assert.NoError(t, validate(t, alone))
}

func TestServicesThatTakeTurnsChangeNoClaim(t *testing.T) {
	shop := manifest(t, "shop.json")
	before := observe(t, shop).Claims
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: plugin.Target{Namespace: "shop", Name: "web", StableService: "web-canary", CanaryService: "web-stable"},
		Config: []byte(block), TotalWeight: 100, Inputs: inputs(t, shop),
	})
	require.NoError(t, err)
	assert.Equal(t, before, seen.Claims)
	assert.Equal(t, int32(100), seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
}

func TestAnExperimentHasAnEntryOfItsOwn(t *testing.T) {
	shop, exp := manifest(t, "shop.json"), []byte(experimentService)
	want := traffic(20)
	want.Destinations[0].Weight = 70
	want.Destinations = append(want.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: "web-exp", Weight: 10})
	with := after(t, want, shop, exp)
	o, err := objects.Parse(with)
	require.NoError(t, err)
	entry, _ := o.Value("spec", "weighted", "services", 5)
	assert.Equal(t, "h2c", entry.(map[string]any)["scheme"], "it talks to its pods as to those of stable")
	assert.EqualValues(t, "8080", entry.(map[string]any)["port"], "and has its own port")
	assert.Equal(t, want.Destinations, observe(t, with).Observed[0].Traffic.Destinations)

	// Two rollouts have experiments on one object: each removes its own.
	require.NoError(t, objects.SetRecord(o, recordKey, "shop/other", record{Services: []string{"other-exp"}}))
	shared, err := o.JSON()
	require.NoError(t, err)
	gone := after(t, traffic(20), shared)
	names, weights := services(t, gone)
	assert.Equal(t, []string{"web-canary", "web-stable", "web-canary", "web-canary", "legacy"}, names)
	assert.EqualValues(t, "80", weights[1])
	left, err := objects.Parse(gone)
	require.NoError(t, err)
	assert.Equal(t, []string{"other-exp"}, objects.Record[record](left, recordKey, "shop/other").Services)
	assert.Empty(t, objects.Record[record](left, recordKey, "shop/web").Services)

	// Somebody removes the entry by hand: that is seen, and it is put back.
	edit := edited(t, with, nil, "spec", "weighted", "services", 5)
	assert.True(t, observe(t, edit).Observed[0].Residue)
	names, _ = services(t, after(t, want, edit, exp))
	assert.Equal(t, "web-exp", names[5])

	_, err = route(t, want, shop, edited(t, exp, []any{}, "spec", "ports"))
	assert.ErrorContains(t, err, "has no port to send to")
}

func TestMistakesAreNamedBeforeAnythingMoves(t *testing.T) {
	shop := manifest(t, "shop.json")
	assert.NoError(t, validate(t, shop))
	for message, raw := range map[string][]byte{
		"has no spec.weighted":                     edited(t, shop, nil, "spec", "weighted"),
		`no entry for Service "web-canary"`:        edited(t, shop, "other", "spec", "weighted", "services", 3, "name"),
		`no entry for Service "web-stable"`:        edited(t, shop, "other", "spec", "weighted", "services", 1, "name"),
		`several entries for Service "web-canary"`: edited(t, shop, map[string]any{"name": "web-canary"}, "spec", "weighted", "services", 4),
		"they have to sum to 100":                  edited(t, shop, 1, "spec", "weighted", "services", 1, "weight"),
	} {
		err := validate(t, raw)
		assert.ErrorContains(t, err, message)
		assert.Contains(t, plugin.Violations(err), nameField)
	}
	err := validate(t)
	assert.True(t, plugin.IsReferenceNotFound(err))
	for raw, path := range map[string]string{`{}`: nameField, `{"weightedTraefikServiceName":"web","drainSeconds":-1}`: "drainSeconds",
		`{"traefikService":"web"}`: "traefikService"} {
		_, err := parseConfig([]byte(raw), "shop")
		assert.Contains(t, plugin.Violations(err), path, raw)
	}
}

// Somebody removes the canary's entry during an update: an abort, and a release, need it no more.
func TestWithoutTheCanarysEntryTrafficIsBack(t *testing.T) {
	bare := edited(t, manifest(t, "shop.json"), nil, "spec", "weighted", "services", 3)
	seen := observe(t, bare)
	assert.Equal(t, traffic(0).Destinations, seen.Observed[0].Traffic.Destinations)
	stage, err := route(t, traffic(0), bare)
	require.NoError(t, err)
	assert.Empty(t, stage.Writes)
	_, err = route(t, traffic(10), bare)
	assert.ErrorContains(t, err, "add one")
}
