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

const web = `{"httpRoute":"web"}`

func TestObserve(t *testing.T) {
	shop := manifest(t, "shop.json")
	seen := observe(t, web, inputs(t, shop))

	assert.Equal(t, []trafficrouter.Observed{
		{Place: "HTTPRoute/shop/web rule=main", Traffic: traffic(100, 0)},
		{Place: "HTTPRoute/shop/web rule=#2", Traffic: traffic(100, 0)},
	}, seen.Observed)
	assert.Equal(t, trafficrouter.Done, seen.Convergence)
	assert.Empty(t, seen.Message)
	assert.Zero(t, seen.Settle)
	ref := objects.Ref{Group: group, Kind: "HTTPRoute", Namespace: "shop", Name: "web"}
	assert.Equal(t, []trafficrouter.Claim{
		{Object: ref, Key: "rule=main/backend=Service/shop/web-stable:80"},
		{Object: ref, Key: "rule=main/backend=Service/shop/web-canary:80"},
		{Object: ref, Key: "rule=#2/backend=Service/shop/web-stable:8080"},
		{Object: ref, Key: "rule=#2/backend=Service/shop/web-canary:9090"},
	}, seen.Claims)
}

func TestObserveReportsHandEdits(t *testing.T) {
	shop := edited(t, manifest(t, "shop.json"), weight(1, 1, 30), weight(1, 2, 30), weight(2, 1, 2))
	seen := observe(t, web, inputs(t, shop))

	assert.Equal(t, traffic(100, 50), seen.Observed[0].Traffic)
	assert.Equal(t, traffic(100, 67), seen.Observed[1].Traffic)

	repaired := send(t, web, inputs(t, shop), traffic(100, 10))
	require.Len(t, repaired, 1)
	seen = observe(t, web, inputs(t, repaired[0]))
	assert.Equal(t, traffic(100, 10), seen.Observed[0].Traffic)
	assert.Equal(t, traffic(100, 10), seen.Observed[1].Traffic)
}

func TestObserveSettles(t *testing.T) {
	shop := edited(t, manifest(t, "shop.json"), edit{nil, []any{"status"}})
	seen := observe(t, `{"httpRoute":"web","drainSeconds":5}`, inputs(t, shop))

	assert.Equal(t, trafficrouter.Unknown, seen.Convergence)
	assert.Equal(t, 5*time.Second, seen.Settle)
	assert.Equal(t, `no gateway reports on HTTPRoute "shop/web"`, seen.Message)
}

func TestObserveTakesTheWorstOfSeveralRoutes(t *testing.T) {
	shop := manifest(t, "shop.json")
	api := edited(t, shop, set("api", "metadata", "name"), set(8, "metadata", "generation"))
	seen := observe(t, `{"httpRoutes":[{"name":"web"},{"name":"api"}]}`, inputs(t, shop, api))

	assert.Len(t, seen.Observed, 4)
	assert.Equal(t, trafficrouter.Pending, seen.Convergence)
	assert.Equal(t, `Gateway "infra/public" has seen generation 7 of HTTPRoute "shop/api", not yet 8`, seen.Message)
}

func TestMark(t *testing.T) {
	mark := func(raw []byte) any {
		o, err := objects.Parse(raw)
		require.NoError(t, err)
		value, _ := o.Value("metadata", "labels", defaultLabelKey)

		return value
	}
	shop := manifest(t, "shop.json")

	at10 := send(t, web, inputs(t, shop), traffic(100, 10))[0]
	assert.Equal(t, defaultLabelValue, mark(at10))
	assert.False(t, observe(t, web, inputs(t, at10)).Observed[0].Residue)

	// Somebody sets the weights back and forgets the mark.
	forgotten := edited(t, shop, set(defaultLabelValue, "metadata", "labels", defaultLabelKey))
	seen := observe(t, web, inputs(t, forgotten))
	assert.True(t, seen.Observed[0].Residue)
	assert.False(t, seen.Observed[1].Residue)
	cleaned := send(t, web, inputs(t, forgotten), traffic(100, 0))
	require.Len(t, cleaned, 1)
	assert.Nil(t, mark(cleaned[0]))
	assert.Equal(t, pretty(t, shop), pretty(t, cleaned[0]))

	// Another value under the key is not ours.
	foreign := edited(t, shop, set("by-hand", "metadata", "labels", defaultLabelKey))
	assert.False(t, observe(t, web, inputs(t, foreign)).Observed[0].Residue)
	assert.Empty(t, send(t, web, inputs(t, foreign), traffic(100, 0)))

	// Without a mark nothing is set and nothing removed.
	unmarked := `{"httpRoute":"web","disableInProgressLabel":true}`
	assert.Nil(t, mark(send(t, unmarked, inputs(t, shop), traffic(100, 10))[0]))
	assert.False(t, observe(t, unmarked, inputs(t, forgotten)).Observed[0].Residue)
}

func TestRouteWithoutLabelsLeavesNone(t *testing.T) {
	bare := edited(t, manifest(t, "shop.json"), edit{nil, []any{"metadata", "labels"}})
	at10 := send(t, web, inputs(t, bare), traffic(100, 10))[0]
	back := release(t, web, inputs(t, at10))[0]

	o, err := objects.Parse(back)
	require.NoError(t, err)
	_, found := o.Value("metadata", "labels")
	assert.False(t, found)
}

func TestRouteWritesEachObjectOnceAndOnlyWhatDiffers(t *testing.T) {
	shop := manifest(t, "shop.json")
	api := edited(t, shop, set("api", "metadata", "name"))
	both := `{"httpRoute":"web","httpRoutes":[{"name":"api"},{"name":"web"}]}`

	wrote := send(t, both, inputs(t, shop, api), traffic(100, 40))
	require.Len(t, wrote, 2)
	assert.Empty(t, send(t, both, inputs(t, wrote...), traffic(100, 40)), "asking again changes nothing")
	assert.Empty(t, send(t, both, inputs(t, shop, api), traffic(100, 0)), "nor does asking for what is there")
	assert.Len(t, send(t, both, inputs(t, wrote[0], api), traffic(100, 40)), 1)
}

func TestReferences(t *testing.T) {
	shop := manifest(t, "shop.json")
	alone := edited(t, shop, edit{nil, []any{"spec", "rules", 2}}, edit{nil, []any{"spec", "rules", 1}})
	nobody := target
	nobody.CanaryService = ""
	itself := target
	itself.CanaryService = target.StableService

	for name, tc := range map[string]struct {
		config  string
		target  plugin.Target
		inputs  *objects.Inputs
		path    string // of an InvalidConfig; `-` for ReferenceNotFound
		message string
	}{
		"no route": {
			`{"httpRoutes":[{"name":"wbe"}]}`, target, wireInputs(t, absent("HTTPRoute", "shop", "wbe")), "-",
			`httpRoutes[0].name: HTTPRoute "shop/wbe" not found: create it or correct the name`,
		},
		"no route in another namespace": {
			`{"httpRoute":"web","namespace":"edge"}`, target, wireInputs(t, absent("HTTPRoute", "edge", "web")), "-",
			`httpRoute: HTTPRoute "edge/web" not found: create it or correct the name`,
		},
		"no rule with both": {
			web, target, inputs(t, alone), "httpRoute",
			`httpRoute: rule users-own of HTTPRoute "shop/web" sends to Service "web-canary" and not to "web-stable": ` +
				`add the missing backendRef, with weight 0 for the canary`,
		},
		"no canary Service": {
			web, nobody, inputs(t, shop), "",
			"the rollout names no two Services to split traffic between: set spec.strategy.canary.stableService and canaryService",
		},
		"one Service": {
			web, itself, inputs(t, shop), "",
			`stable and canary Service are both "web-stable": traffic cannot be split between a Service and itself`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := []byte(tc.config)
			validate := router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: tc.target, Config: config, Inputs: tc.inputs})
			_, observe := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: tc.target, Config: config, Inputs: tc.inputs})
			_, route := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
				Target: tc.target, Config: config, Inputs: tc.inputs, Traffic: trafficrouter.Traffic{TotalWeight: 100},
			})
			for _, err := range []error{validate, observe, route} {
				require.EqualError(t, err, tc.message)
				if tc.path == "-" {
					assert.True(t, plugin.IsReferenceNotFound(err))
				} else {
					assert.Contains(t, plugin.Violations(err), tc.path)
				}
			}
		})
	}
}

func TestAsksForAllRoutesAtOnce(t *testing.T) {
	in := wireInputs(t)
	err := router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{
		Target: target, Config: []byte(`{"httpRoutes":[{"name":"a"},{"name":"b"}],"grpcRoute":"c"}`), Inputs: in,
	})
	assert.True(t, objects.IsNotReady(err))
	assert.Len(t, in.Needs(true), 3)
}

func TestReleaseToleratesWhatIsGone(t *testing.T) {
	alone := edited(t, manifest(t, "shop.json"), edit{nil, []any{"spec", "rules", 2}}, edit{nil, []any{"spec", "rules", 1}},
		set(defaultLabelValue, "metadata", "labels", defaultLabelKey))

	assert.Empty(t, release(t, web, wireInputs(t, absent("HTTPRoute", "shop", "web"))))
	assert.Len(t, release(t, web, inputs(t, alone)), 1, "the mark goes")
}

// A route that an earlier configuration named goes back to stable; the ones named now do not wait for it.
func TestHeldRoutesAreLeft(t *testing.T) {
	shop := manifest(t, "shop.json")
	old := send(t, `{"httpRoute":"old"}`, inputs(t, edited(t, shop, set("old", "metadata", "name"))), traffic(100, 30))
	both := func(old []byte) *objects.Inputs {
		return wireInputs(t, append(results(t, false, shop), results(t, true, old)...)...)
	}

	seen := observe(t, web, both(old[0]))
	require.Len(t, seen.Observed, 4)
	assert.Equal(t, "HTTPRoute/shop/old rule=main", seen.Observed[2].Place)
	assert.Equal(t, traffic(100, 30), seen.Observed[2].Traffic)
	assert.True(t, seen.Observed[2].Residue)
	assert.Len(t, seen.Claims, 4, "nothing new is claimed of the old one")

	wrote := send(t, web, both(old[0]), traffic(100, 30))
	require.Len(t, wrote, 2)
	seen = observe(t, web, wireInputs(t, append(results(t, false, wrote[0]), results(t, true, wrote[1])...)...))
	assert.Len(t, seen.Observed, 2, "gone from the observation once it is left")
}

func TestInfo(t *testing.T) {
	in := info()
	assert.Equal(t, "gatewayapi", in.Name)
	for _, k := range in.Kinds {
		if k.Kind == "Service" { // Of experiments, for their ports.
			assert.Equal(t, []plugin.Verb{plugin.Read}, k.Verbs)

			continue
		}
		assert.Equal(t, group, k.Group)
		assert.Equal(t, []plugin.Verb{plugin.Read, plugin.Update}, k.Verbs)
	}
}

// One of two routes is deleted, or its author takes it back, while the canary has traffic on both: that is the user's to
// repair, and an abort still reaches the other one.
func TestOneRouteIsGone(t *testing.T) {
	const both = `{"httpRoutes":[{"name":"web"},{"name":"api"}]}`
	shop := manifest(t, "shop.json")
	at20 := send(t, both, inputs(t, shop, edited(t, shop, set("api", "metadata", "name"))), traffic(100, 20))
	require.Len(t, at20, 2)
	webAt20 := at20[0]
	takenBack := edited(t, at20[1], set([]any{}, "spec", "rules"))

	for name, there := range map[string]func() *objects.Inputs{
		"deleted": func() *objects.Inputs {
			return wireInputs(t, append(results(t, false, webAt20), absent("HTTPRoute", "shop", "api"))...)
		},
		"taken back": func() *objects.Inputs { return inputs(t, webAt20, takenBack) },
	} {
		t.Run(name, func(t *testing.T) {
			seen := observe(t, both, there())
			require.Len(t, seen.Observed, 2, "the rules of the other route")
			assert.Equal(t, traffic(100, 20), seen.Observed[0].Traffic)

			writes := send(t, both, there(), traffic(100, 0))
			require.Len(t, writes, 1, "the other route, and only that")
			assert.Equal(t, traffic(100, 0), observe(t, web, inputs(t, writes[0])).Observed[0].Traffic)
		})
	}
}
