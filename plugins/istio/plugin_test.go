package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func header(name string, match ...trafficrouter.HeaderMatch) trafficrouter.ManagedRoute {
	return trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{Match: match}}
}

func exactly(value string) trafficrouter.StringMatch {
	return trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: value}
}

func TestObserve(t *testing.T) {
	seen := observe(t, byHost, manifest(t, "shop.json"))
	var places []string
	for _, o := range seen.Observed {
		places = append(places, o.Place)
		assert.Equal(t, traffic(0), o.Traffic, o.Place)
		assert.False(t, o.Residue)
	}
	assert.Equal(t, []string{
		"VirtualService/shop/web http=main", "VirtualService/shop/web http=beside-others",
		"VirtualService/shop/web tls=443/a.example.com,b.example.com", "VirtualService/shop/web tcp=3306",
	}, places)
	assert.Equal(t, trafficrouter.Unknown, seen.Convergence, "sidecars do not say what they have taken over")
	assert.Equal(t, 2*time.Second, seen.Settle)
	assert.Equal(t, "http=main/destination=web-stable.shop.svc/", seen.Claims[0].Key)
}

// What is not the rollout's stays: fields, numbers, destinations of others — and their share.
func TestRouteTouchesNothingElse(t *testing.T) {
	before := manifest(t, "shop.json")
	after := at(t, byHost, traffic(30), before)
	http := section(t, after, "http")
	assert.Equal(t, section(t, before, "http")[0], http[0])
	assert.Equal(t, []int{70, 30}, weightsOf(http[1]))
	assert.Equal(t, []int{50, 20, 30}, weightsOf(http[2]), "the canary's 30 are of all requests, as with Argo")
	assert.Equal(t, []int{70, 30}, weightsOf(section(t, after, "tls")[0]))
	assert.Equal(t, section(t, before, "tls")[1], section(t, after, "tls")[1])
	assert.Equal(t, []int{70, 30}, weightsOf(section(t, after, "tcp")[0]))
	assert.Contains(t, string(after), `"big":9007199254740993,"decimal":1.50`)

	released, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
		Target: target, Config: []byte(byHost), Traffic: traffic(0), Release: true, Inputs: inputs(t, after),
	})
	require.NoError(t, err)
	assert.JSONEq(t, string(before), string(released.Writes[0].JSON))
}

// Where others leave less room than the canary is to get, it gets all there is, and what was asked for is still known.
func TestOthersLeaveNoRoom(t *testing.T) {
	shop := manifest(t, "shop.json")
	for _, canary := range []int32{80, 90, 99, 100} {
		after := at(t, byHost, traffic(canary), shop)
		assert.Equal(t, []int{0, 20, 80}, weightsOf(section(t, after, "http")[2]))
		seen := observe(t, byHost, after)
		assert.Equal(t, canary, seen.Observed[1].Traffic.Weight(trafficrouter.RoleCanary))
		assert.False(t, seen.Observed[0].Residue)
	}
}

// A header route is a copy of its source that sends to the canary alone. Several headers are alternatives, as in Argo's
// manifests for Istio.
func TestHeaderRoutes(t *testing.T) {
	a := header("a", trafficrouter.HeaderMatch{Name: "x-a", Value: exactly("1")}, trafficrouter.HeaderMatch{Name: "x-b"})
	after := at(t, byHost, with(traffic(10), "a", a), manifest(t, "shop.json"))
	http := section(t, after, "http")
	require.Len(t, http, 5)
	raw, err := json.Marshal(http[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"a","retries":{"attempts":3,"perTryTimeout":"2s"},"rewrite":{"uri":"/"},"timeout":"10s",
		"match":[{"uri":{"prefix":"/api"},"port":443,"headers":{"x-a":{"exact":"1"}}},{"uri":{"prefix":"/api"},"port":443,"headers":{"x-b":{}}}],
		"route":[{"destination":{"host":"web-canary.shop.svc.cluster.local","port":{"number":80}},"weight":100}]}`, string(raw))
	assert.Equal(t, "a-1", http[1]["name"])
	assert.Equal(t, "always-new", http[2]["name"])
	seen := observe(t, byHost, after)
	for _, o := range seen.Observed {
		assert.Equal(t, []trafficrouter.ManagedRoute{a}, o.Traffic.ManagedRoutes, o.Place)
		assert.False(t, o.Residue)
	}
	back := at(t, byHost, with(traffic(10), "a"), after)
	assert.Len(t, section(t, back, "http"), 3)
	assert.NotContains(t, string(back), recordKey)
}

func TestMirrorRoutesSplitLikeTheirSource(t *testing.T) {
	m := trafficrouter.ManagedRoute{Name: "m", Mirror: &trafficrouter.MirrorRoute{Percentage: 50, Match: []trafficrouter.RequestMatch{
		{Method: exactly("POST"), Path: trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: "/api/color"}},
	}}}
	after := at(t, byHost, with(traffic(10), "m", m), manifest(t, "shop.json"))
	http := section(t, after, "http")
	assert.Equal(t, []int{90, 10}, weightsOf(http[0]))
	assert.Equal(t, map[string]any{"value": 50.0}, http[0]["mirrorPercentage"])
	assert.Equal(t, map[string]any{"host": "web-canary.shop.svc.cluster.local", "port": map[string]any{"number": 80.0}}, http[0]["mirror"])
	assert.Equal(t, []any{map[string]any{"method": map[string]any{"exact": "POST"}, "port": 443.0, "uri": map[string]any{"prefix": "/api/color"}}}, http[0]["match"])
	assert.Equal(t, "VirtualService/shop/web http=m", observe(t, byHost, after).Observed[0].Place)

	later := at(t, byHost, with(traffic(40), "m", m), after)
	assert.Equal(t, []int{60, 40}, weightsOf(section(t, later, "http")[0]))
}

// A hand edit, or what another tool has taken away, is noticed and repaired; a route that only bears a managed name is not
// taken for one.
func TestDrift(t *testing.T) {
	a := header("a", trafficrouter.HeaderMatch{Name: "x-a", Value: exactly("1")})
	want := with(traffic(10), "a", a)
	there := at(t, byHost, want, manifest(t, "shop.json"))
	for name, broken := range map[string][]byte{
		"another header": edited(t, there, "2", "spec", "http", 0, "match", 0, "headers", "x-a", "exact"),
		"gone":           edited(t, edited(t, there, nil, "spec", "http", 0), nil, "spec", "http", 0),
		"another source": edited(t, there, "1s", "spec", "http", 3, "timeout"),
	} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, observe(t, byHost, broken).Observed[0].Residue)
			repaired := at(t, byHost, want, broken)
			assert.False(t, observe(t, byHost, repaired).Observed[0].Residue)
			assert.Equal(t, "a", section(t, repaired, "http")[0]["name"])
		})
	}

	theirs := edited(t, manifest(t, "shop.json"), "a", "spec", "http", 0, "name")
	after := at(t, byHost, want, theirs)
	assert.Equal(t, []int{90, 10}, weightsOf(section(t, after, "http")[1]), "weights still move")
	_, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(byHost), Traffic: want, Inputs: inputs(t, after)})
	assert.ErrorContains(t, err, `HTTP route "a" of VirtualService "shop/web" has the name of a managed route`)
}

// A third revision while the second has half of the traffic: first the canary's subset is emptied, then it points at the
// third, then weight returns. No stage both takes traffic off a subset and moves it.
func TestAThirdRevisionDrainsTheSecond(t *testing.T) {
	split, rule := manifest(t, "split.json"), manifest(t, "subsets.json")
	world, wrote := send(t, bySubset, between("stablehash", "canaryhash", 50), split, rule)
	require.Equal(t, "VirtualService", wrote)
	assert.Equal(t, []int{40, 50, 10}, weightsOf(section(t, world[0], "http")[0]))

	third := between("stablehash", "thirdhash", 50)
	world, wrote = send(t, bySubset, third, world...)
	require.Equal(t, "VirtualService", wrote)
	assert.Equal(t, []int{90, 0, 10}, weightsOf(section(t, world[0], "http")[0]))
	world, wrote = send(t, bySubset, third, world...)
	require.Equal(t, "DestinationRule", wrote)
	assert.Equal(t, "thirdhash", observe(t, bySubset, world...).Observed[0].Traffic.Destinations[1].PodTemplateHash)
	world, wrote = send(t, bySubset, third, world...)
	require.Equal(t, "VirtualService", wrote)
	assert.Equal(t, []int{40, 50, 10}, weightsOf(section(t, world[0], "http")[0]))
	_, wrote = send(t, bySubset, third, world...)
	assert.Empty(t, wrote)
	assert.Contains(t, string(world[1]), `{"labels":{"app":"web","version":"0"},"name":"legacy"}`)
}

// At the end of a rollout the stable subset moves while everything goes to the canary's, and then takes over.
func TestPromotionMovesTheEmptySubset(t *testing.T) {
	world, _ := send(t, bySubset, between("stablehash", "canaryhash", 50), manifest(t, "split.json"), manifest(t, "subsets.json"))
	promoted := between("canaryhash", "canaryhash", 0)
	var stages []string
	for range 4 {
		var wrote string
		world, wrote = send(t, bySubset, promoted, world...)
		stages = append(stages, wrote)
	}
	assert.Equal(t, []string{"VirtualService", "DestinationRule", "VirtualService", ""}, stages)
	seen := observe(t, bySubset, world...)
	for _, d := range seen.Observed[0].Traffic.Destinations {
		assert.Equal(t, "canaryhash", d.PodTemplateHash)
	}
}

// fresh are subsets that point at no revision yet.
func fresh(t *testing.T) []byte {
	t.Helper()
	rule := edited(t, manifest(t, "subsets.json"), nil, "spec", "subsets", 1, "labels", hashLabel)

	return edited(t, rule, nil, "spec", "subsets", 2, "labels", hashLabel)
}

// Subsets that name a revision of an earlier day: the canary's moves first and takes the traffic, then the stable one.
func TestSubsetsOfAnEarlierDay(t *testing.T) {
	world := [][]byte{manifest(t, "split.json"), manifest(t, "subsets.json")}
	var stages []string
	for range 5 {
		var wrote string
		world, wrote = send(t, bySubset, between("new", "new", 0), world...)
		stages = append(stages, wrote)
	}
	assert.Equal(t, []string{"DestinationRule", "VirtualService", "DestinationRule", "VirtualService", ""}, stages)
	assert.Equal(t, []int{90, 0, 10}, weightsOf(section(t, world[0], "http")[0]))
}

// A release gives the stable subset back, whose revision may be gone by now, then the weight, then the other subset: byte for byte what was there, and nobody is left behind
// when the revision is gone.
func TestSubsetsAreGivenBack(t *testing.T) {
	before := fresh(t)
	world, _ := send(t, bySubset, between("one", "one", 0), manifest(t, "split.json"), before)
	world, _ = send(t, bySubset, between("one", "two", 0), world...)
	world, _ = send(t, bySubset, between("one", "two", 30), world...)
	var stages []string
	for range 4 {
		stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
			Target: target, Config: []byte(bySubset), Traffic: traffic(0), Release: true, Inputs: inputs(t, world...),
		})
		require.NoError(t, err)
		for _, w := range stage.Writes {
			at := map[bool]int{false: 0, true: 1}[strings.Contains(string(w.JSON), `"kind":"DestinationRule"`)]
			world[at] = w.JSON
			stages = append(stages, []string{"VirtualService", "DestinationRule"}[at])
		}
	}
	assert.Equal(t, []string{"DestinationRule", "VirtualService", "DestinationRule"}, stages)
	assert.JSONEq(t, string(before), string(world[1]))
}

// The plugin's own configuration sets how long a change takes where a Rollout does not.
func TestDrainOfThePlugin(t *testing.T) {
	t.Cleanup(func() { require.NoError(t, configure(t.Context(), nil)) })
	settle := func(config string) time.Duration { return observe(t, config, manifest(t, "shop.json")).Settle }
	assert.Equal(t, 2*time.Second, settle(byHost))
	require.NoError(t, configure(t.Context(), []byte(`{"drainSeconds": 7}`)))
	assert.Equal(t, 7*time.Second, settle(byHost))
	assert.Equal(t, time.Second, settle(strings.Replace(byHost, "{", `{"drainSeconds":1,`, 1)))
	assert.Equal(t, "drainSeconds", firstKey(plugin.Violations(configure(t.Context(), []byte(`{"drainSeconds": -1}`)))))
	assert.Error(t, configure(t.Context(), []byte(`{"drain": 1}`)))
	assert.Equal(t, 7*time.Second, settle(byHost), "a wrong configuration changes nothing")
}

func firstKey(m map[string]string) string {
	for k := range m {
		return k
	}

	return ""
}

// Subsets that point at no revision yet are narrowed where they are; one that has traffic is never moved to pods that
// nothing else reaches.
func TestAdoptionAndRefusal(t *testing.T) {
	split := manifest(t, "split.json")
	world, wrote := send(t, bySubset, between("one", "one", 0), split, fresh(t))
	require.Equal(t, "DestinationRule", wrote)
	_, wrote = send(t, bySubset, between("one", "one", 0), world...)
	assert.Empty(t, wrote)

	_, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{
		Target: target, Config: []byte(bySubset), Traffic: between("two", "one", 0), Inputs: inputs(t, world...),
	})
	assert.ErrorContains(t, err, `subset "stable" of DestinationRule "shop/web" has traffic and is to point at revision two`)
}

func TestOtherNamespaces(t *testing.T) {
	edge := edited(t, edited(t, manifest(t, "shop.json"), "edge", "metadata", "namespace"), []any{map[string]any{
		"name": "main", "route": []any{
			map[string]any{"destination": map[string]any{"host": "web-stable.shop.svc.cluster.local"}, "weight": 100},
			map[string]any{"destination": map[string]any{"host": "web-canary.shop.svc.cluster.local"}, "weight": 0},
		},
	}}, "spec", "http")
	for _, name := range []string{"web.edge", "web.edge.cluster.local"} {
		config := `{"virtualService":{"name":"` + name + `","routes":["main"]}}`
		want := traffic(20)
		want.Destinations[0].Weight = 70
		want.Destinations = append(want.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: "web-exp", Weight: 10})
		after := at(t, config, want, edge)
		assert.Equal(t, []int{70, 20, 10}, weightsOf(section(t, after, "http")[0]))
		assert.Contains(t, string(after), `"web-exp.shop.svc.cluster.local"`)
		assert.Equal(t, int32(10), observe(t, config, after).Observed[0].Traffic.Weight(trafficrouter.RoleExperiment))
	}
	// Istio completes a short host with the namespace of the VirtualService: that is another Service.
	err := validate(t, `{"virtualService":{"name":"web.edge","routes":["beside-others"]}}`, trafficrouter.Envelope{},
		edited(t, manifest(t, "shop.json"), "edge", "metadata", "namespace"))
	assert.ErrorContains(t, err, "has no destination host web-canary.shop.svc for the canary")
}

func TestPingPong(t *testing.T) {
	promoted := at(t, byHost, traffic(100), manifest(t, "shop.json"))
	swapped := target
	swapped.StableService, swapped.CanaryService = target.CanaryService, target.StableService
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: swapped, Config: []byte(byHost), TotalWeight: 100, Inputs: inputs(t, promoted)})
	require.NoError(t, err)
	before := observe(t, byHost, promoted)
	assert.Equal(t, before.Claims, seen.Claims)
	for i, o := range seen.Observed {
		assert.Equal(t, int32(0), o.Traffic.Weight(trafficrouter.RoleCanary), o.Place)
		assert.Equal(t, before.Observed[i].Place, o.Place)
	}
}

func validate(t *testing.T, config string, envelope trafficrouter.Envelope, manifests ...[]byte) error {
	t.Helper()

	return router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{
		Target: target, Config: []byte(config), Inputs: inputs(t, manifests...), Envelope: envelope,
	})
}

func TestRefuses(t *testing.T) {
	shop, split, rule := manifest(t, "shop.json"), manifest(t, "split.json"), manifest(t, "subsets.json")
	mirrors := edited(t, shop, map[string]any{"host": "elsewhere"}, "spec", "http", 1, "mirror")
	both := header("main", trafficrouter.HeaderMatch{Name: "x", Value: exactly("1")})
	mirror := trafficrouter.ManagedRoute{Name: "m", Mirror: &trafficrouter.MirrorRoute{Percentage: 1}}
	for name, tc := range map[string]struct {
		config   string
		routes   []trafficrouter.ManagedRoute
		objects  [][]byte
		path     string
		sentence string
	}{
		"no VirtualService":      {`{}`, nil, nil, "virtualService", "is missing"},
		"two ways at once":       {`{"virtualService":{"name":"a"},"virtualServices":[{"name":"b"}]}`, nil, nil, "virtualServices", "keep one of the two"},
		"twice the same":         {`{"virtualServices":[{"name":"a"},{"name":"a.shop"}]}`, nil, nil, "virtualServices[1].name", "a second time"},
		"no name":                {`{"virtualServices":[{"name":"a"},{}]}`, nil, nil, "virtualServices[1].name", "is empty"},
		"a route of no name":     {`{"virtualService":{"name":"web","routes":["mian"]}}`, nil, [][]byte{shop}, "virtualService", `has no HTTP route named "mian"`},
		"which of the routes":    {`{"virtualService":{"name":"web"}}`, nil, [][]byte{shop}, "virtualService", "has 3 http routes: say in virtualService.routes which"},
		"no such TLS route":      {`{"virtualService":{"name":"web","tlsRoutes":[{"port":443,"sniHosts":["c"]}]}}`, nil, [][]byte{shop}, "virtualService", "no TLS route that matches exactly port 443 and the hosts c"},
		"no such TCP route":      {`{"virtualService":{"name":"web","tcpRoutes":[{"port":1}]}}`, nil, [][]byte{shop}, "virtualService", "no TCP route that matches exactly port 1"},
		"no stable destination":  {`{"virtualService":{"name":"web","routes":["always-new"]}}`, nil, [][]byte{shop}, "virtualService", "http route always-new of VirtualService \"shop/web\" has no destination host web-stable.shop.svc for the stable"},
		"no such subset":         {`{"virtualService":{"name":"web"},"destinationRule":{"name":"web","canarySubsetName":"new","stableSubsetName":"stable"}}`, nil, [][]byte{split, rule}, "destinationRule.canarySubsetName", `has no subset "new"`},
		"no such other subset":   {`{"virtualService":{"name":"web"},"destinationRule":{"name":"web","canarySubsetName":"canary","stableSubsetName":"stable","additionalSubsetNames":["old"]}}`, nil, [][]byte{split, rule}, "destinationRule.additionalSubsetNames[0]", `has no subset "old"`},
		"one subset":             {`{"virtualService":{"name":"web"},"destinationRule":{"name":"web","canarySubsetName":"a","stableSubsetName":"a"}}`, nil, nil, "destinationRule.canarySubsetName", "use two subsets"},
		"a managed name is used": {byHost, []trafficrouter.ManagedRoute{both}, [][]byte{shop}, "virtualService", `has an HTTP route "main" already`},
		"a mirror is there":      {byHost, []trafficrouter.ManagedRoute{mirror}, [][]byte{mirrors}, "virtualService", "the route mirrors already"},
		"weights beside others":  {byHost, nil, [][]byte{edited(t, shop, 70, "spec", "http", 2, "route", 0, "weight")}, "virtualService", "they have to sum to 100"},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(t, tc.config, trafficrouter.Envelope{ManagedRoutes: tc.routes}, tc.objects...)
			require.Error(t, err)
			assert.Contains(t, plugin.Violations(err)[tc.path], tc.sentence)
		})
	}
}

// One of two VirtualServices is gone while the canary has traffic on both: that is the user's to repair, and an abort still
// reaches the other one.
func TestOneOfTwoIsGone(t *testing.T) {
	const config = `{"virtualServices":[{"name":"web","routes":["main"]},{"name":"gone"}]}`
	there := at(t, byHost, traffic(20), manifest(t, "shop.json"))
	shown := func(t *testing.T) *objects.Inputs {
		t.Helper()

		return inputs(t, there, []byte(`{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"gone","namespace":"shop"}}`))
	}
	err := router{}.Validate(t.Context(), &trafficrouter.ValidateRequest{Target: target, Config: []byte(config), Inputs: shown(t)})
	assert.Error(t, err)
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: target, Config: []byte(config), TotalWeight: 100, Inputs: shown(t)})
	require.NoError(t, err)
	assert.Equal(t, int32(20), seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
	stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(config), Traffic: traffic(0), Inputs: shown(t)})
	require.NoError(t, err)
	require.Len(t, stage.Writes, 1)
	assert.Equal(t, []int{100, 0}, weightsOf(section(t, stage.Writes[0].JSON, "http")[1]))
}
