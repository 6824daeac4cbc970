package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func TestARuleThatBearsAManagedNameIsTheUsers(t *testing.T) {
	a := header("a", "x-a", exactly("1"))
	theirs := edited(t, simple(t), set(map[string]any{"name": "a", "backendRefs": []any{map[string]any{"name": "web-canary", "port": 80}}}, "spec", "rules", 1))

	err := validate(t, web, theirs, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{a}})
	require.Error(t, err)
	assert.Contains(t, plugin.Violations(err)["httpRoute"], `has a rule "a" already`)

	// It came later: weights still move, and nobody believes that the managed route is in place, or gone.
	want := with(traffic(100, 20), "a", a)
	there := at(t, web, theirs, want)
	assert.Equal(t, "main a", names(t, there))
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{
		Target: target, Config: []byte(web), TotalWeight: 100, ManagedNames: []string{"a"}, Inputs: inputs(t, there),
	})
	require.NoError(t, err)
	assert.Len(t, seen.Observed[0].Traffic.ManagedRoutes, 1)
	assert.NotEqual(t, a, seen.Observed[0].Traffic.ManagedRoutes[0])
	_, err = router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: target, Config: []byte(web), Traffic: want, Inputs: inputs(t, there)})
	assert.ErrorContains(t, err, `rule "a" of HTTPRoute "shop/web" has the name of a managed route and is not recorded as one`)
}

func TestAHandEditOfAnOwnRuleIsRepaired(t *testing.T) {
	want := with(traffic(100, 10), "a", header("a", "x-a", exactly("1")))
	there := at(t, web, simple(t), want)
	for name, edit := range map[string]edit{
		"another header":          set("2", "spec", "rules", 0, "matches", 0, "headers", 0, "value"),
		"another source":          set("5s", "spec", "rules", 1, "timeouts", "request"),
		"a rule put before it":    set([]any{rules(t, there)[1], rules(t, there)[0]}, "spec", "rules"),
		"the rule was taken away": {nil, []any{"spec", "rules", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			broken := edited(t, there, edit)
			assert.True(t, observe(t, web, inputs(t, broken)).Observed[0].Residue)
			repaired := at(t, web, broken, want)
			assert.Equal(t, "a main", names(t, repaired))
			assert.False(t, observe(t, web, inputs(t, repaired)).Observed[0].Residue)
		})
	}
}

// Two rollouts on one route, each with its own header route: neither touches what the other recorded.
func TestTwoRolloutsOnOneRoute(t *testing.T) {
	shared := routeJSON("HTTPRoute", "web", `[
		{"name":"main","backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":80,"weight":0}]},
		{"name":"api","backendRefs":[{"name":"api-stable","port":80},{"name":"api-canary","port":80,"weight":0}]}]`)
	other := plugin.Target{Namespace: "shop", Name: "api", StableService: "api-stable", CanaryService: "api-canary"}
	asOther := func(raw []byte, canary int32, routes ...trafficrouter.ManagedRoute) []byte {
		stage, err := router{}.Route(t.Context(), &trafficrouter.RouteRequest{Target: other, Config: []byte(web), Inputs: inputs(t, raw),
			Release: canary == 0, Traffic: trafficrouter.Traffic{TotalWeight: 100, ManagedNames: []string{"b"}, ManagedRoutes: routes, Destinations: []trafficrouter.Destination{
				{Role: trafficrouter.RoleStable, Service: "api-stable", Weight: 100 - canary}, {Role: trafficrouter.RoleCanary, Service: "api-canary", Weight: canary},
			}}})
		require.NoError(t, err)

		return written(t, stage)[0]
	}

	ours := at(t, web, shared, with(traffic(100, 10), "a", header("a", "x-a", exactly("1"))))
	both := asOther(ours, 40, header("b", "x-b", exactly("1")))
	assert.Equal(t, "b a main api", names(t, both))
	seen := observe(t, web, inputs(t, both))
	assert.Equal(t, traffic(100, 10).Destinations, seen.Observed[0].Traffic.Destinations)
	assert.False(t, seen.Observed[0].Residue, "a rule of others in front is no reason to fight")
	assert.Equal(t, "a main api", names(t, asOther(both, 0)))
	assert.Equal(t, "b main api", names(t, release(t, web, inputs(t, both))[0]))
}

func TestRoutesByLabel(t *testing.T) {
	config := `{"httpRouteSelector":{"matchLabels":{"app":"shop"}},"httpRoute":"web"}`
	shop := manifest(t, "shop.json")
	need := objects.Need{Group: group, Kind: "HTTPRoute", Versions: []string{"v1"}, Namespace: "shop", Selector: "app=shop"}
	listed := func(raws ...[]byte) *objects.Inputs {
		all := &typesv1.NeedResult{Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: group + "/v1"}
		for _, r := range results(t, false, raws...) {
			all.Objects = append(all.Objects, r.GetObjects()...)
		}

		return wireInputs(t, append(results(t, false, shop), all)...)
	}

	api := edited(t, shop, set("api", "metadata", "name"))
	assert.Len(t, send(t, config, listed(shop, api), traffic(100, 10)), 2, "a route that is named and matched is one")
	_, err := read(listed(), []byte(config), subjectOf(target, nil), strict)
	assert.True(t, plugin.IsReferenceNotFound(err))
	assert.ErrorContains(t, err, "no label matches")

	// Those of a selector take no managed routes, and do not keep a rollout from being there.
	want := with(traffic(100, 10), "a", header("a", "x-a", exactly("1")))
	wrote := send(t, config, listed(shop, api), want)
	require.Len(t, wrote, 2)
	seen := observe(t, `{"httpRoutes":[{"name":"web","useHeaderRoutes":true},{"name":"api"}]}`, inputs(t, wrote...))
	for _, o := range seen.Observed {
		assert.Equal(t, want.ManagedRoutes, o.Traffic.ManagedRoutes, o.Place)
	}
}

func TestManagedRoutesNeedARouteThatTakesThem(t *testing.T) {
	err := validate(t, `{"httpRoutes":[{"name":"web"}]}`, simple(t), trafficrouter.Envelope{
		ManagedRoutes: []trafficrouter.ManagedRoute{header("a", "x-a", exactly("1"))},
	})
	assert.ErrorContains(t, err, `steps set managed route "a", and no route takes any`)
	err = validate(t, web, simple(t), trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("Not_A_Name", "x-a", exactly("1"))}})
	assert.ErrorContains(t, err, `managed route "Not_A_Name" cannot name a rule`)
}

// A sticky canary: the session is there while the canary has weight, and goes at 0, so that an abort reaches everybody.
func TestStickyCanary(t *testing.T) {
	const sticky = `{"httpRoute":"web","stickyCanary":{"absoluteTimeout":"1h"}}`
	want := traffic(100, 10)
	want.Destinations[1].PodTemplateHash = "abc"
	there := at(t, sticky, simple(t), with(want, "a", header("a", "x-a", exactly("1"))))
	all := rules(t, there)
	assert.Equal(t, map[string]any{"sessionName": "sluice-canary-abc", "type": "Cookie", "absoluteTimeout": "1h"}, all[1]["sessionPersistence"])
	assert.NotContains(t, all[0], "sessionPersistence", "a header route has one backend")
	assert.False(t, observe(t, sticky, inputs(t, there)).Observed[0].Residue)
	assert.NotContains(t, rules(t, at(t, sticky, there, traffic(100, 0)))[0], "sessionPersistence")
	assert.True(t, observe(t, web, inputs(t, there)).Observed[0].Residue, "the block lost the setting")
	assert.NotContains(t, rules(t, at(t, web, there, traffic(100, 10)))[0], "sessionPersistence")

	// The standard channel has no such field: that is said, not written again and again.
	pruned := edited(t, there, edit{nil, []any{"spec", "rules", 1, "sessionPersistence"}})
	assert.False(t, observe(t, sticky, inputs(t, pruned)).Observed[0].Residue)
	o := typed(t, pruned)
	own := readOwned(o, "shop/web", nil)
	splits, err := findSplits(o, svc, own)
	require.NoError(t, err)
	assert.Contains(t, (&call{}).remarks(steered{object: o, own: own, splits: splits}), "install the experimental channel")

	err = validate(t, sticky, manifest(t, "shop.json"), trafficrouter.Envelope{})
	assert.ErrorContains(t, err, `rule main of HTTPRoute "shop/web" has a sessionPersistence of its own`)
}

// Services that trade places, as ping and pong do, change neither places nor claims.
func TestPingPong(t *testing.T) {
	promoted := at(t, web, simple(t), traffic(100, 100))
	swapped := target
	swapped.StableService, swapped.CanaryService = target.CanaryService, target.StableService
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: swapped, Config: []byte(web), TotalWeight: 100, Inputs: inputs(t, promoted)})
	require.NoError(t, err)
	before := observe(t, web, inputs(t, promoted))
	assert.Equal(t, before.Claims, seen.Claims)
	assert.Equal(t, before.Observed[0].Place, seen.Observed[0].Place)
	assert.Equal(t, int32(0), seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
}

func TestNarrowed(t *testing.T) {
	const root, api = `[{"path":{"type":"PathPrefix","value":"/"}}]`, `[{"path":{"type":"PathPrefix","value":"/api"}}]`
	prefix := func(v string) trafficrouter.StringMatch {
		return trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: v}
	}
	paths := func(p trafficrouter.StringMatch) trafficrouter.ManagedRoute {
		return mirror("m", 100, trafficrouter.RequestMatch{Path: p})
	}
	for name, tc := range map[string]struct {
		kind, source string
		route        trafficrouter.ManagedRoute
		want         string // the matches, or the error
	}{
		"a header beside a path":             {"HTTPRoute", api, header("a", "x", exactly("1")), `[{"headers":[{"name":"x","type":"Exact","value":"1"}],"path":{"type":"PathPrefix","value":"/api"}}]`},
		"the header is matched already":      {"HTTPRoute", `[{"headers":[{"name":"X","value":"1"}]}]`, header("a", "x", exactly("1")), `[{"headers":[{"name":"X","value":"1"}]}]`},
		"another value of the header":        {"HTTPRoute", `[{"headers":[{"name":"X","value":"1"}]}]`, header("a", "x", exactly("2")), `null`},
		"a header by two rules":              {"HTTPRoute", `[{"headers":[{"name":"x","type":"RegularExpression","value":"1"}]}]`, header("a", "x", exactly("2")), `the rule matches header "x" already, and Gateway API takes one condition a header: match another header`},
		"a deeper path":                      {"HTTPRoute", root, paths(prefix("/api")), `[{"path":{"type":"PathPrefix","value":"/api"}}]`},
		"a higher path":                      {"HTTPRoute", api, paths(prefix("/")), api},
		"a prefix is of elements":            {"HTTPRoute", api, paths(prefix("/apis")), `null`},
		"an exact path under the prefix":     {"HTTPRoute", api, paths(exactly("/api/1")), `[{"path":{"type":"Exact","value":"/api/1"}}]`},
		"paths that cannot be combined":      {"HTTPRoute", api, paths(trafficrouter.StringMatch{Kind: trafficrouter.MatchRegex, Value: "/.*"}), `path RegularExpression "/.*" and the rule's path PathPrefix "/api" cannot be combined: write the mirror's path as a prefix of the rule's, or the other way round`},
		"a rule for all calls":               {"GRPCRoute", `null`, header("a", "x", exactly("1")), `[{"headers":[{"name":"x","type":"Exact","value":"1"}]}]`},
		"a call":                             {"GRPCRoute", `[{}]`, paths(exactly("/shop.Cart/Add")), `[{"method":{"method":"Add","service":"shop.Cart","type":"Exact"}}]`},
		"a call of another service":          {"GRPCRoute", `[{"method":{"service":"shop.Pay"}}]`, paths(prefix("/shop.Cart/")), `null`},
		"a path that is no call":             {"GRPCRoute", `[{}]`, paths(prefix("/a/b/c")), `path "/a/b/c" means no gRPC calls: want the prefix /service/, or exactly /service/method`},
		"a call is never a GET":              {"GRPCRoute", `[{}]`, mirror("m", 100, trafficrouter.RequestMatch{Method: exactly("GET")}), `null`},
		"a header with any value that is so": {"HTTPRoute", `[{"headers":[{"name":"x","value":"1"}]}]`, header("a", "x", trafficrouter.StringMatch{}), `[{"headers":[{"name":"x","value":"1"}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := narrowed(tc.kind, tree(t, tc.source), tc.route)
			if err != nil {
				assert.EqualError(t, err, tc.want)

				return
			}
			assert.JSONEq(t, tc.want, encoded(t, got))
		})
	}
}
