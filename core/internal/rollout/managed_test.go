package rollout

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func TestManagedRoutesInForce(t *testing.T) {
	exact := func(s string) *v1alpha1.StringMatch { return &v1alpha1.StringMatch{Exact: s} }
	header := func(name, value string) v1alpha1.CanaryStep {
		step := &v1alpha1.SetHeaderRoute{Name: name}
		if value != "" {
			step.Match = []v1alpha1.HeaderRoutingMatch{{HeaderName: "x", HeaderValue: exact(value)}}
		}
		return v1alpha1.CanaryStep{SetHeaderRoute: step}
	}
	mirror := v1alpha1.CanaryStep{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "m", Match: []v1alpha1.RouteMatch{{Path: exact("/")}}}}
	canary := &v1alpha1.CanaryStrategy{
		TrafficRouting: &v1alpha1.RolloutTrafficRouting{ManagedRoutes: []v1alpha1.ManagedRoute{{Name: "m"}, {Name: "h"}, {Name: "m"}}},
		Steps:          []v1alpha1.CanaryStep{header("h", "1"), mirror, header("h", "2"), header("h", ""), header("m", "1"), header("foreign", "1")},
	}
	names := func(index int) []string {
		out := []string{}
		for _, m := range ManagedAt(canary, index) {
			what := "mirror"
			if m.Mirror == nil {
				what = m.Header[0].Value.Exact
			}
			out = append(out, m.Name+"="+what)
		}
		return out
	}
	assert.Equal(t, []string{}, names(-1))
	assert.Equal(t, []string{"h=1"}, names(0))
	assert.Equal(t, []string{"m=mirror", "h=1"}, names(1), "spec.managedRoutes gives the order")
	assert.Equal(t, []string{"m=mirror", "h=2"}, names(2), "the latest step of a name counts")
	assert.Equal(t, []string{"m=mirror"}, names(3), "no match removes")
	assert.Equal(t, []string{"m=1"}, names(99), "one name is one route, whatever its kind; others are not managed")
	assert.Nil(t, ManagedAt(nil, 3))
	assert.Nil(t, ManagedAt(&v1alpha1.CanaryStrategy{Steps: canary.Steps}, 3))
}

// TestRoutesAreComparedByWhatTheyDo: a route that was edited by hand keeps its
// name, and must be put right all the same.
func TestRoutesAreComparedByWhatTheyDo(t *testing.T) {
	value := func(s string) StringMatch { return StringMatch{Exact: s} }
	a := ManagedRoute{Name: "r", Header: []HeaderMatch{{Name: "X-A", Value: value("1")}, {Name: "b", Value: value("2")}}}
	turned := ManagedRoute{Name: "r", Header: []HeaderMatch{{Name: "B", Value: value("2")}, {Name: "x-a", Value: value("1")}}}
	assert.Equal(t, a.Content(), turned.Content(), "all have to match, so the order means nothing, nor does a header's case")
	for name, other := range map[string]ManagedRoute{
		"another value":    {Name: "r", Header: []HeaderMatch{{Name: "X-A", Value: value("1")}, {Name: "b", Value: value("3")}}},
		"another way":      {Name: "r", Header: []HeaderMatch{{Name: "X-A", Value: StringMatch{Prefix: "1"}}, {Name: "b", Value: value("2")}}},
		"another name":     {Name: "s", Header: a.Header},
		"a mirror":         {Name: "r", Mirror: &MirrorRoute{Percentage: 5}},
		"a condition less": {Name: "r", Header: a.Header[:1]},
	} {
		assert.NotEqual(t, a.Content(), other.Content(), name)
	}
	assert.NotEqual(t, ManagedRoute{Mirror: &MirrorRoute{Percentage: 5}}.Content(), ManagedRoute{Mirror: &MirrorRoute{Percentage: 6}}.Content())
	assert.Equal(t, a.Content(), ManagedRoute{Name: "r", Digest: a.Content()}.Content(), "status keeps the digest")
	one, two := Traffic{Managed: []ManagedRoute{a, {Name: "z"}}}, Traffic{Managed: []ManagedRoute{{Name: "z"}, a}}
	assert.False(t, Observation{Observed: []Observed{{Traffic: one}}}.Matches(two), "the order is the priority")
	assert.True(t, Observation{Observed: []Observed{{Traffic: one}}}.Matches(Traffic{Managed: []ManagedRoute{turned, {Name: "z"}}}))
}

// A managed route counts for where it leads: the canary Service, or, of a router
// between subsets, the revision the canary's names. A Service beside the subsets
// carries nothing.
func TestAManagedRouteCountsWhereItLeads(t *testing.T) {
	ro := &v1alpha1.Rollout{}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: "s", CanaryService: "c"}
	carries := func(stable, canary Destination) *Snapshot {
		stable.Role, stable.Weight, canary.Role = RoleStable, 100, RoleCanary
		return &Snapshot{Rollout: ro, Routers: []Router{{Plugin: "r", Observation: Observation{Observed: []Observed{{
			Traffic: Traffic{TotalWeight: 100, Destinations: []Destination{stable, canary}, Managed: []ManagedRoute{{Name: "beta"}}}}}}}}}
	}
	assert.Equal(t, int64(1), carries(Destination{Service: "s"}, Destination{Service: "c"}).ServiceWeight("c"))
	subsets := carries(Destination{Hash: "v1"}, Destination{Hash: "v2"})
	assert.Equal(t, int64(0), subsets.ServiceWeight("c"))
	assert.Equal(t, int64(1), subsets.HashWeight("v2"))
}
