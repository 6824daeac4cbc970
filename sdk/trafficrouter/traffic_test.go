package trafficrouter

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

func TestNormalize(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		total   int32
		weights []int32
		want    []int32
	}{
		"already normal":                {100, []int32{90, 10}, []int32{90, 10}},
		"a hand edit":                   {100, []int32{30, 30}, []int32{50, 50}},
		"thirds":                        {100, []int32{1, 1, 1}, []int32{34, 33, 33}},
		"traffic never looks like none": {100, []int32{9999, 1}, []int32{99, 1}},
		"nor do two crumbs":             {100, []int32{9998, 1, 1}, []int32{98, 1, 1}},
		"all zero":                      {100, []int32{0, 0}, []int32{0, 0}},
		"negative is nothing":           {100, []int32{-5, 5}, []int32{0, 100}},
		"scaled up":                     {1000, []int32{1, 3}, []int32{250, 750}},
		"large":                         {math.MaxInt32, []int32{math.MaxInt32, math.MaxInt32}, []int32{1073741824, 1073741823}},
		"more than fit":                 {1, []int32{5, 5}, []int32{1, 1}},
		"none":                          {100, nil, []int32{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, Normalize(test.total, test.weights...))
		})
	}
}

func TestDesiredTrafficIsChecked(t *testing.T) {
	t.Parallel()

	good := func() Traffic {
		return Traffic{
			TotalWeight:   100,
			Destinations:  []Destination{{Role: RoleStable, Weight: 90}, {Role: RoleCanary, Weight: 10}},
			ManagedRoutes: []ManagedRoute{{Name: "h", Header: &HeaderRoute{}}},
			ManagedNames:  []string{"h"},
		}
	}
	require.NoError(t, good().check())

	tests := map[string]struct {
		spoil func(*Traffic)
		path  string
	}{
		"sum":              {func(t *Traffic) { t.Destinations[1].Weight = 11 }, "traffic.destinations"},
		"negative":         {func(t *Traffic) { t.Destinations[1].Weight = -10 }, "traffic.destinations[1].weight"},
		"overflowing":      {func(t *Traffic) { t.Destinations[0].Weight, t.Destinations[1].Weight = math.MaxInt32, math.MaxInt32 }, "traffic.destinations"},
		"no total":         {func(t *Traffic) { t.TotalWeight = 0 }, "traffic.totalWeight"},
		"no canary":        {func(t *Traffic) { t.Destinations = []Destination{{Role: RoleStable, Weight: 100}} }, "traffic.destinations"},
		"unmanaged routes": {func(t *Traffic) { t.ManagedNames = nil }, "traffic.managedRoutes[0].name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			traffic := good()
			test.spoil(&traffic)
			assert.Contains(t, plugin.Violations(traffic.check()), test.path)
		})
	}
}

func TestTrafficSurvivesTheWire(t *testing.T) {
	t.Parallel()

	header := []HeaderMatch{{Name: "x-canary", Value: StringMatch{MatchExact, ""}}, {Name: "y", Value: StringMatch{MatchRegex, ".*"}}}
	want := Traffic{
		TotalWeight: 1000,
		Destinations: []Destination{
			{RoleStable, "web-stable", "abc", 600}, {RoleCanary, "web-canary", "def", 300},
			{RoleExperiment, "web-exp", "", 100}, {RoleUnknown, "x", "", 0},
		},
		ManagedRoutes: []ManagedRoute{
			{Name: "h", Header: &HeaderRoute{Match: header}},
			{Name: "m", Mirror: &MirrorRoute{Percentage: 30, Match: []RequestMatch{{
				Method: StringMatch{MatchExact, "GET"}, Path: StringMatch{MatchPrefix, "/api"}, Headers: header,
			}}}},
		},
		ManagedNames: []string{"h", "m", "old"},
	}
	got, err := trafficFrom(want.Proto())
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, int32(300), got.Weight(RoleCanary))

	_, err = trafficFrom(&routerv1.Traffic{ManagedRoutes: []*routerv1.ManagedRoute{{Name: "from the future"}}})
	assert.ErrorContains(t, err, "does not know", "dropping it would lose the user's traffic")
}

func TestManagedRoutesSurviveARecord(t *testing.T) {
	t.Parallel()

	everything, exact := StringMatch{}, StringMatch{Kind: MatchExact, Value: "regex:a:b"}
	for _, route := range []ManagedRoute{
		{Name: "a", Header: &HeaderRoute{Match: []HeaderMatch{{Name: "x", Value: exact}, {Name: "y", Value: everything}}}},
		{Name: "b", Mirror: &MirrorRoute{Percentage: 0}},
		{Name: "c", Mirror: &MirrorRoute{Percentage: 5, Match: []RequestMatch{
			{}, {Method: exact, Path: StringMatch{Kind: MatchPrefix, Value: "/"}},
		}}},
	} {
		raw, err := json.Marshal(route)
		require.NoError(t, err)
		var back ManagedRoute
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, route, back, string(raw))
	}
	var m StringMatch
	require.ErrorContains(t, m.UnmarshalText([]byte("glob:*")), "neither exact:")
}
