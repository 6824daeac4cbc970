package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const serverKey = "VirtualServer/shop"

// parsed is JSON as objects show it: numbers as they are written.
func parsed(raw string) (value any, err error) {
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&value)

	return value, err
}

func (s *stage) sameAs(want string, key string, path ...any) {
	s.t.Helper()
	value, err := parsed(want)
	require.NoError(s.t, err)
	assert.Equal(s.t, value, s.value(key, path...))
}

func TestSplitsOfVirtualServers(t *testing.T) {
	s := newStage(t, byServer, manifest(t, "server.json"), manifest(t, "serverroute.json"))
	require.NoError(t, s.validate(trafficrouter.Envelope{}))
	assert.Empty(t, s.send(traffic(0)))
	assert.Equal(t, []string{"update " + serverKey, "update VirtualServerRoute/sub"}, s.send(traffic(30)))
	s.sameAs(`[{"weight":70,"action":{"pass":"stable"}},{"weight":30,"action":{"proxy":{"upstream":"canary","rewritePath":"/"}}}]`, serverKey, "spec", "routes", 0, "splits")
	s.sameAs(`[{"weight":30,"action":{"pass":"canary"}},{"weight":70,"action":{"pass":"stable"}}]`, serverKey, "spec", "routes", 1, "matches", 1, "splits")
	s.sameAs(`[{"weight":60,"action":{"pass":"other"}},{"weight":40,"action":{"pass":"stable"}}]`, serverKey, "spec", "routes", 2, "splits")
	s.sameAs(`[{"weight":30,"action":{"pass":"new"}},{"weight":70,"action":{"pass":"old"}}]`, "VirtualServerRoute/sub", "spec", "subroutes", 0, "splits")
	var places []string
	for _, at := range s.see().Observed {
		places = append(places, at.Place)
		assert.Equal(t, int32(30), at.Traffic.Weight(trafficrouter.RoleCanary), at.Place)
		assert.False(t, at.Residue)
	}
	assert.Equal(t, []string{
		"VirtualServer/shop/shop route=/", "VirtualServer/shop/shop route=/beta/match=0", "VirtualServerRoute/shop/sub route=/sub",
	}, places)
	require.NoError(t, s.route(traffic(0), true))
	assert.JSONEq(t, string(manifest(t, "server.json")), string(s.objects[serverKey]))
	assert.JSONEq(t, string(manifest(t, "serverroute.json")), string(s.objects["VirtualServerRoute/sub"]))
}

// Each source has a match of its own: those of the user before it keep their requests.
func TestHeaderRoutesOfVirtualServers(t *testing.T) {
	s := newStage(t, byServer, manifest(t, "server.json"), manifest(t, "serverroute.json"))
	testers, staff := header("testers", "X-Test", trafficrouter.MatchExact, "v2"), header("staff", "X-Staff", trafficrouter.MatchPrefix, "a.")
	require.NoError(t, s.validate(trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{testers, staff}}))
	s.send(traffic(20, staff, testers))
	s.sameAs(`[{"conditions":[{"header":"X-Staff","value":"~^a\\."}],"action":{"pass":"canary"}},
		{"conditions":[{"header":"X-Test","value":"~^v2$"}],"action":{"pass":"canary"}}]`, serverKey, "spec", "routes", 0, "matches")
	s.sameAs(`[{"conditions":[{"cookie":"team","value":"other"}],"action":{"pass":"other"}},
		{"conditions":[{"variable":"$request_method","value":"GET"},{"header":"X-Staff","value":"~^a\\."}],"action":{"pass":"canary"}},
		{"conditions":[{"variable":"$request_method","value":"GET"},{"header":"X-Test","value":"~^v2$"}],"action":{"pass":"canary"}},
		{"conditions":[{"variable":"$request_method","value":"GET"}],"splits":[{"weight":20,"action":{"pass":"canary"}},{"weight":80,"action":{"pass":"stable"}}]}]`,
		serverKey, "spec", "routes", 1, "matches")
	assert.Empty(t, s.send(traffic(20, staff, testers)))
	for _, at := range s.see().Observed {
		assert.Equal(t, []trafficrouter.ManagedRoute{staff, testers}, at.Traffic.ManagedRoutes)
		assert.False(t, at.Residue, at.Place)
	}

	// A user's match that looks like it stays; the own one comes back if it is taken out.
	s.edit(serverKey, json.RawMessage(`[{"conditions":[{"header":"X-Mine","value":"1"}],"action":{"pass":"canary"}}]`), "spec", "routes", 0, "matches")
	assert.True(t, s.see().Observed[0].Residue)
	s.send(traffic(20, staff, testers))
	s.send(traffic(20))
	s.sameAs(`[{"conditions":[{"header":"X-Mine","value":"1"}],"action":{"pass":"canary"}}]`, serverKey, "spec", "routes", 0, "matches")
	assert.Nil(t, s.value(serverKey, "metadata", "annotations"))
}

func TestTwoRolloutsShareAVirtualServer(t *testing.T) {
	s := newStage(t, `{"virtualServer":{"name":"shop","routes":["/"]}}`, manifest(t, "server.json"))
	testers := header("testers", "X-Test", trafficrouter.MatchExact, "v2")
	s.send(traffic(20, testers))
	other := *s
	other.target.Name, other.config = "other", `{"virtualServer":{"name":"shop","routes":["/beta"]}}`
	other.send(traffic(50, testers))
	assert.False(t, s.see().Observed[0].Residue)
	assert.NotEqual(t, s.see().Claims, other.see().Claims)
	require.NoError(t, other.route(traffic(0), true))
	assert.False(t, s.see().Observed[0].Residue)
	require.NoError(t, s.route(traffic(0), true))
	assert.JSONEq(t, string(manifest(t, "server.json")), string(s.objects[serverKey]))
}

func TestPingPongOnVirtualServers(t *testing.T) {
	s := newStage(t, byServer, manifest(t, "server.json"), manifest(t, "serverroute.json"))
	require.NoError(t, s.validate(trafficrouter.Envelope{PingPong: true}))
	s.send(traffic(100))
	s.target.StableService, s.target.CanaryService = "web-canary", "web-stable"
	for _, at := range s.see().Observed {
		assert.Equal(t, int32(0), at.Traffic.Weight(trafficrouter.RoleCanary), "the Services have changed roles, and no weight moves")
	}
}

func TestWhatTheControllerSays(t *testing.T) {
	s := newStage(t, `{"virtualServer":{"name":"shop","routes":["/"]}}`, manifest(t, "server.json"))
	for name, tc := range map[string]struct {
		status string
		want   trafficrouter.Convergence
		says   string
	}{
		"nothing":         {`{}`, trafficrouter.Unknown, ""},
		"valid":           {`{"state":"Valid"}`, trafficrouter.Unknown, ""},
		"refused":         {`{"state":"Invalid","message":"spec.routes[0].splits: weights"}`, trafficrouter.Pending, `VirtualServer "shop/shop" is refused by its controller: spec.routes[0].splits: weights`},
		"of a generation": {`{"state":"Valid","observedGeneration":3}`, trafficrouter.Pending, "has taken over 3"},
	} {
		t.Run(name, func(t *testing.T) {
			s.edit(serverKey, 4, "metadata", "generation")
			s.edit(serverKey, json.RawMessage(tc.status), "status")
			seen := s.see()
			assert.Equal(t, tc.want, seen.Convergence)
			assert.Contains(t, seen.Message, tc.says)
		})
	}
}

func TestWhatVirtualServersCannotDo(t *testing.T) {
	mirror := trafficrouter.ManagedRoute{Name: "m", Mirror: &trafficrouter.MirrorRoute{}}
	for name, tc := range map[string]struct {
		config   string
		envelope trafficrouter.Envelope
		want     string
	}{
		"no such path":     {`{"virtualServer":{"name":"shop","routes":["/nowhere"]}}`, trafficrouter.Envelope{}, `virtualServer: VirtualServer "shop/shop" has no route with path "/nowhere"`},
		"no split":         {`{"virtualServer":{"name":"shop","routes":["/other"]}}`, trafficrouter.Envelope{}, `route "/other" of VirtualServer "shop/shop" does not split between the Services web-stable and web-canary: write splits`},
		"not there":        {`{"virtualServers":[{"name":"gone"}]}`, trafficrouter.Envelope{}, `virtualServers[0].name: VirtualServer "shop/gone" not found`},
		"two of one kind":  {`{"virtualServer":{"name":"shop"},"virtualServers":[{"name":"b"}]}`, trafficrouter.Envelope{}, "virtualServers: is set beside virtualServer"},
		"no name":          {`{"virtualServer":{}}`, trafficrouter.Envelope{}, "virtualServer.name: is empty"},
		"twice":            {`{"virtualServers":[{"name":"b"},{"name":"b"}]}`, trafficrouter.Envelope{}, `virtualServers[1].name: names "b" a second time`},
		"another total":    {byServer, trafficrouter.Envelope{TotalWeight: 1000}, "maxTrafficWeight is 1000"},
		"a mirror":         {byServer, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{mirror}}, "is a mirror"},
		"a quote":          {byServer, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("a", "x", trafficrouter.MatchRegex, `a"b`)}}, "has quotes"},
		"a header's name":  {byServer, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("a", "x_y", trafficrouter.MatchExact, "1")}}, "use letters, digits and -"},
		"a negative drain": {`{"virtualServer":{"name":"shop"},"drainSeconds":-2}`, trafficrouter.Envelope{}, "drainSeconds: is -2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.config, manifest(t, "server.json"), manifest(t, "serverroute.json"))
			require.ErrorContains(t, s.validate(tc.envelope), tc.want)
		})
	}
}
