package act

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// The status patch holds the difference and the version it was computed from;
// what went away is null.
func TestStatusPatchIsTheDifference(t *testing.T) {
	one, two := int32(1), int32(2)
	before := v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutPhasePaused, Message: "CanaryPauseStep", CurrentStepIndex: &one, StableRS: "a",
		PauseConditions: []v1alpha1.PauseCondition{{Reason: v1alpha1.PauseReasonCanaryPauseStep}},
	}
	after := v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutPhaseHealthy, CurrentStepIndex: &two, StableRS: "a"}
	patch, err := statusPatch(before, after, "7")
	require.NoError(t, err)
	assert.JSONEq(t, `{"metadata": {"resourceVersion": "7"},
		"status": {"phase": "Healthy", "message": null, "currentStepIndex": 2, "pauseConditions": null}}`, string(patch))
}

// Clients look into status.canary and status.blueGreen without asking whether they
// are there, as Argo Rollouts always writes both.
func TestTheFirstStatusHasBothStrategies(t *testing.T) {
	patch, err := statusPatch(v1alpha1.RolloutStatus{}, v1alpha1.RolloutStatus{ObservedGeneration: "1"}, "7")
	require.NoError(t, err)
	assert.JSONEq(t, `{"metadata": {"resourceVersion": "7"}, "status": {"observedGeneration": "1", "canary": {}, "blueGreen": {}}}`, string(patch))
}
