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
