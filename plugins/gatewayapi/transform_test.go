package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
)

// withRules is a route shop/web of a kind with these rules.
func withRules(t *testing.T, kind, rules string) *objects.Typed[route] {
	t.Helper()

	return typed(t, routeJSON(kind, "web", rules))
}

func routeJSON(kind, name, rules string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"gateway.networking.k8s.io/v1","kind":%q,
		"metadata":{"name":%q,"namespace":"shop","resourceVersion":"1"},"spec":{"rules":%s}}`, kind, name, rules)
}

func TestFindSplits(t *testing.T) {
	for name, tc := range map[string]struct {
		rules string
		want  []split
	}{
		"a named rule": {
			`[{"name":"main","backendRefs":[{"name":"web-stable","port":80,"weight":90},{"name":"web-canary","port":80,"weight":10}]}]`,
			[]split{{rule: 0, name: "main", pairs: []pair{{0, 1}}, stable: 90, canary: 10}},
		},
		"no weight is 1": {
			`[{"backendRefs":[{"name":"web-canary"},{"name":"web-stable"}]}]`,
			[]split{{rule: 0, name: "#0", pairs: []pair{{1, 0}}, stable: 1, canary: 1}},
		},
		"rules with one of the two are the user's": {
			`[{"backendRefs":[{"name":"web-canary"}]},{"backendRefs":[{"name":"web-stable"}]},{},
			  {"backendRefs":[{"name":"web-stable"},{"name":"web-canary","weight":0}]}]`,
			[]split{{rule: 3, name: "#3", pairs: []pair{{0, 1}}, stable: 1, canary: 0}},
		},
		"the name alone is not enough": {
			`[{"backendRefs":[{"name":"web-canary","kind":"Function","group":"example.com"},{"name":"web-canary","namespace":"other"},
			  {"name":"web-stable","group":"","kind":"Service","namespace":"shop"},{"name":"web-canary","weight":3}]}]`,
			[]split{{rule: 0, name: "#0", pairs: []pair{{2, 3}}, stable: 1, canary: 3}},
		},
		"the ports of a pair may differ": {
			`[{"backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":8080}]}]`,
			[]split{{rule: 0, name: "#0", pairs: []pair{{0, 1}}, stable: 1, canary: 1}},
		},
		"several pairs go by port": {
			`[{"backendRefs":[{"name":"web-stable","port":80,"weight":8},{"name":"web-stable","port":81,"weight":6},
			  {"name":"web-canary","port":81,"weight":4},{"name":"web-canary","port":80,"weight":2}]}]`,
			[]split{{rule: 0, name: "#0", pairs: []pair{{0, 3}, {1, 2}}, stable: 14, canary: 6}},
		},
		"a name twice, from before names had to be unique": {
			`[{"name":"a","backendRefs":[{"name":"web-stable"},{"name":"web-canary"}]},
			  {"name":"a","backendRefs":[{"name":"web-stable"},{"name":"web-canary"}]}]`,
			[]split{
				{rule: 0, name: "a", pairs: []pair{{0, 1}}, stable: 1, canary: 1},
				{rule: 1, name: "a#1", pairs: []pair{{0, 1}}, stable: 1, canary: 1},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := withRules(t, "HTTPRoute", tc.rules)
			got, err := findSplits(o, svc, readOwned(o, "shop/web", nil))
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestFindSplitsRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ rules, want string }{
		"no rules": {
			`[]`,
			`HTTPRoute "shop/web" sends neither to Service "web-stable" nor to "web-canary" of namespace "shop": ` +
				`add the missing backendRef, with weight 0 for the canary`,
		},
		"no canary": {
			`[{"name":"main","backendRefs":[{"name":"web-stable"}]}]`,
			`rule main of HTTPRoute "shop/web" sends to Service "web-stable" and not to "web-canary": ` +
				`add the missing backendRef, with weight 0 for the canary`,
		},
		"no stable": {
			`[{"backendRefs":[{"name":"other"}]},{"backendRefs":[{"name":"web-canary"}]}]`,
			`rule #1 of HTTPRoute "shop/web" sends to Service "web-canary" and not to "web-stable": ` +
				`add the missing backendRef, with weight 0 for the canary`,
		},
		"a canary of another kind": {
			`[{"backendRefs":[{"name":"web-stable"},{"name":"web-canary","group":"traefik.io","kind":"TraefikService"}]}]`,
			`rule #0 of HTTPRoute "shop/web" sends to Service "web-stable" and not to "web-canary" ` +
				`(rule #0 has a backendRef "web-canary", but to TraefikService.traefik.io in namespace "shop"): ` +
				`add the missing backendRef, with weight 0 for the canary`,
		},
		"ports that do not pair up": {
			`[{"backendRefs":[{"name":"web-stable","port":80},{"name":"web-stable","port":81},{"name":"web-canary","port":80}]}]`,
			`rule #0 of HTTPRoute "shop/web" has several backendRefs to Service "web-stable" or "web-canary", and they do not ` +
				`pair up by port: give each port one backendRef to either Service`,
		},
		"the same backend twice": {
			`[{"backendRefs":[{"name":"web-stable","port":80},{"name":"web-stable","port":80},{"name":"web-canary","port":80},
			  {"name":"web-canary","port":81}]}]`,
			`rule #0 of HTTPRoute "shop/web" has several backendRefs to Service "web-stable" or "web-canary", and they do not ` +
				`pair up by port: give each port one backendRef to either Service`,
		},
		"a canary port without a stable one": {
			`[{"backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":80},{"name":"web-canary","port":81}]}]`,
			`rule #0 of HTTPRoute "shop/web" has 1 backendRefs to Service "web-stable" and 2 to "web-canary": give each port one to either`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := withRules(t, "HTTPRoute", tc.rules)
			_, err := findSplits(o, svc, readOwned(o, "shop/web", nil))
			assert.EqualError(t, err, tc.want)
		})
	}
}

func TestShares(t *testing.T) {
	for _, tc := range []struct {
		stable, canary, total int32
		want                  [2]int32
	}{
		{90, 10, 100, [2]int32{90, 10}},
		{9, 1, 100, [2]int32{90, 10}},
		{30, 30, 100, [2]int32{50, 50}},
		{1, 0, 100, [2]int32{100, 0}},
		{0, 7, 100, [2]int32{0, 100}},
		{0, 0, 100, [2]int32{0, 0}},
		{2, 1, 100, [2]int32{67, 33}},
		{999, 1, 100, [2]int32{99, 1}},
		{1, 999, 100, [2]int32{1, 99}},
		{90, 10, 1000, [2]int32{900, 100}},
		{1_000_000, 1, 1_000_000, [2]int32{999_999, 1}},
	} {
		w := split{stable: tc.stable, canary: tc.canary}.shares(tc.total)
		assert.Equal(t, tc.want, [2]int32{w.stable, w.canary}, "%d to %d of %d", tc.stable, tc.canary, tc.total)
	}
}

// Everything but the weights of the two Services, and the mark, is somebody else's: unknown fields, filters, the order of
// rules, digits of numbers.
func TestRouteTouchesNothingElse(t *testing.T) {
	shop := manifest(t, "shop.json")
	wrote := send(t, web, inputs(t, shop), traffic(100, 25))
	require.Len(t, wrote, 1)
	golden(t, "shop-25.golden.json", wrote[0])
	assert.Equal(t, withoutOurs(t, shop), withoutOurs(t, wrote[0]))

	back := release(t, web, inputs(t, wrote[0]))
	require.Len(t, back, 1)
	spelledOut := edited(t, shop, weight(2, 0, 100)) // The one weight that was left to its default.
	assert.Equal(t, pretty(t, spelledOut), pretty(t, back[0]))
}

// withoutOurs is shop.json without what the rollout owns in it.
func withoutOurs(t *testing.T, raw []byte) string {
	t.Helper()
	edits := []edit{{nil, []any{"metadata", "labels", defaultLabelKey}}}
	for _, owned := range [][2]int{{1, 1}, {1, 2}, {2, 0}, {2, 1}} {
		edits = append(edits, edit{nil, []any{"spec", "rules", owned[0], "backendRefs", owned[1], "weight"}})
	}

	return pretty(t, edited(t, raw, edits...))
}

func TestRouteEditsEveryKind(t *testing.T) {
	rules := `[{"backendRefs":[{"name":"web-stable","port":80},{"name":"web-canary","port":80,"weight":0}]}]`
	for kind, field := range map[string]string{
		"HTTPRoute": "httpRoute", "GRPCRoute": "grpcRoute", "TCPRoute": "tcpRoute", "TLSRoute": "tlsRoute",
	} {
		t.Run(kind, func(t *testing.T) {
			wrote := send(t, fmt.Sprintf(`{%q:"web"}`, field), inputs(t, routeJSON(kind, "web", rules)), traffic(1000, 5))
			require.Len(t, wrote, 1)
			var got route
			require.NoError(t, json.Unmarshal(wrote[0], &got))
			assert.Equal(t, int32(995), weightOf(got.Spec.Rules[0].BackendRefs[0]))
			assert.Equal(t, int32(5), weightOf(got.Spec.Rules[0].BackendRefs[1]))
		})
	}
}
