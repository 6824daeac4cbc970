package rollout_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Weights that an earlier controller left are those of a router that cannot be
// observed, unless they were between subsets: then nobody knows what it carries.
func TestWeightsBetweenSubsetsAreNotThoseOfServices(t *testing.T) {
	ro := &v1alpha1.Rollout{}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{}
	block := rollout.Block{Plugin: "new", Config: json.RawMessage(`{}`)}
	named := func(stable, canary string) *v1alpha1.TrafficWeights {
		return &v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{Weight: 100, ServiceName: stable}, Canary: v1alpha1.WeightDestination{ServiceName: canary}}
	}
	ro.Status.Canary.Weights = named("stable", "canary")
	assert.NotEmpty(t, rollout.Remember(ro, block).Observed)
	ro.Status.Canary.Weights = named("", "")
	assert.Empty(t, rollout.Remember(ro, block).Observed)
}

// A router that was just added carries what nobody knows: the weights in status
// are those that others acknowledged.
func TestARouterThatWasJustAddedIsNotBelieved(t *testing.T) {
	ro := &v1alpha1.Rollout{}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{}
	ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{Weight: 100, ServiceName: "stable"}}
	block := rollout.Block{Plugin: "added", Config: json.RawMessage(`{}`)}
	assert.False(t, rollout.Remember(ro, block).Unsure(), "a migration: it had no list of routers")
	ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "other", Phase: v1alpha1.RouterReleasing}}
	assert.True(t, rollout.Remember(ro, block).Unsure())
}

// What a router acknowledged is told in the roles that its Services have now: they
// may have changed places in the spec since.
func TestAMemoryIsOfNames(t *testing.T) {
	ro := &v1alpha1.Rollout{}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: "a", CanaryService: "b"}
	ro.Status.Canary.Routers = []v1alpha1.RouterStatus{{Plugin: "r", Phase: v1alpha1.RouterActive, Acknowledged: &v1alpha1.TrafficWeights{
		Stable: v1alpha1.WeightDestination{ServiceName: "a", Weight: 80}, Canary: v1alpha1.WeightDestination{ServiceName: "b", Weight: 20}}}}
	canary := func() int64 {
		return rollout.Remember(ro, rollout.Block{Plugin: "r"}).Observed[0].Traffic.Weight(rollout.RoleCanary)
	}
	assert.Equal(t, int64(20), canary())
	c := ro.Spec.Strategy.Canary
	c.StableService, c.CanaryService = c.CanaryService, c.StableService
	assert.Equal(t, int64(80), canary())
}
