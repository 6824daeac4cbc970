package controller

import (
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Each change that was made is one line with the step it was made for; what
// failed is none.
func TestEveryChangeIsLoggedWithItsReason(t *testing.T) {
	var lines []string
	logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	weight, step := int32(25), int32(0)
	ro := served("web", "web", "web-canary")
	ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{{SetWeight: &weight}}
	ro.Status.StableRS, ro.Status.CurrentPodHash, ro.Status.CurrentStepIndex = "old", "new", &step
	plan := rollout.Plan{Hash: "new", Ops: []rollout.Op{
		rollout.UpdateReplicaSet{Identity: rollout.Identity{OpID: "scale"}, Name: "web-new", From: 0, To: 2},
		rollout.PointService{Identity: rollout.Identity{OpID: "point"}, Name: "web-canary", From: "old", To: "new"},
		rollout.RecordIntent{Identity: rollout.Identity{OpID: "intent"}},
	}}
	out := rollout.Outcome{Done: map[rollout.OpID]bool{"scale": true, "intent": true}}
	journal(log.IntoContext(t.Context(), logger), &rollout.Snapshot{Rollout: ro}, plan, out)
	assert.Equal(t, []string{
		`"level"=0 "msg"="scaled ReplicaSet web-new from 0 to 2" "operation"="scale" "revision"="new" "reason"="step 1/1 (setWeight: 25)"`,
	}, lines)
}
