package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// What `kubectl argo rollouts restart` writes replaces every pod by evictions. A
// PodDisruptionBudget that allows none is named, and waited for.
func TestRestartAcrossABudget(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.Apply(`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: all}, spec: {maxUnavailable: 0, selector: {matchLabels: {app: app}}}}`)
	before := map[string]bool{}
	for _, pod := range app.Pods("v1") {
		before[pod.GetName()] = true
	}
	require.Len(t, before, 4)
	app.Eventually("the budget is in force", func() bool { return app.Number("PodDisruptionBudget", "all", "status", "expectedPods") == 4 })

	// Times have whole seconds, and a pod of this second is not older than it.
	at := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
	app.PatchRollout(fmt.Sprintf(`{"spec": {"restartAt": %q}}`, at))
	w := app.Await("the budget is named", func(w stage.World) bool { return w.Blocked("WaitingForDisruptionBudget") })
	assert.Equal(t, "rollout is restarting", w.Status().Message)
	assert.Contains(t, w.Message(v1alpha1.ConditionBlocked), "ended by its PodDisruptionBudget allowing a disruption")
	for _, pod := range app.Pods("v1") {
		assert.True(t, before[pod.GetName()], "no pod was touched")
	}

	app.Patch("PodDisruptionBudget", "all", `{"spec": {"maxUnavailable": 1}}`)
	w = app.Await("every pod was restarted", func(w stage.World) bool {
		return w.Healthy("v1") && w.Status().RestartedAt != nil && w.Status().AvailableReplicas == 4
	})
	assert.Equal(t, at, w.Status().RestartedAt.UTC().Format(time.RFC3339))
	assert.Nil(t, w.Condition(v1alpha1.ConditionBlocked))
	for _, pod := range app.Pods("v1") {
		assert.False(t, before[pod.GetName()], pod.GetName())
	}
}

// Pods carry the metadata of the role they have, the running ones too; the
// revision and its pods stay the same.
func TestMetadataOfRoles(t *testing.T) {
	t.Parallel()
	app := on.NewApp(t, shared)
	app.Apply(stage.EditYAML(stage.RolloutYAML(stage.SetWeight(20), stage.Pause), func(spec map[string]any) {
		canary := spec["strategy"].(map[string]any)["canary"].(map[string]any)
		canary["canaryMetadata"] = map[string]any{"labels": map[string]any{"role": "canary", "new": "yes"}, "annotations": map[string]any{"note": "new"}}
		canary["stableMetadata"] = map[string]any{"labels": map[string]any{"role": "stable"}}
		canary["antiAffinity"] = map[string]any{"preferredDuringSchedulingIgnoredDuringExecution": map[string]any{"weight": 1}}
	}))
	app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
	roles := func(version string) (out []string) {
		for _, pod := range app.Pods(version) {
			labels := pod.GetLabels()
			out = append(out, labels["role"]+labels["new"]+pod.GetAnnotations()["note"])
		}
		return out
	}
	app.Eventually("v1 is marked as stable", func() bool { return fmt.Sprint(roles("v1")) == "[stable stable stable stable]" })

	app.Update("v2")
	w := app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	assert.Equal(t, []string{"canaryyesnew"}, roles("v2"))
	hash := w.Hash("v2")
	anti := w.Set("v2").Spec.Template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	require.Len(t, anti, 1)
	assert.Equal(t, []string{w.Hash("v1")}, anti[0].PodAffinityTerm.LabelSelector.MatchExpressions[0].Values)
	pods := app.Pods("v2")

	app.PatchStatus(`{"status": {"pauseConditions": null}}`)
	app.Await("v2 is healthy", func(w stage.World) bool { return w.Healthy("v2") && w.Wanted("v1") == 0 })
	app.Eventually("v2 is marked as stable", func() bool { return fmt.Sprint(roles("v2")) == "[stable stable stable stable]" })
	w = app.Await("new pods of v2 go to any node", func(w stage.World) bool { return w.Set("v2").Spec.Template.Spec.Affinity == nil })
	assert.Equal(t, hash, w.Hash("v2"))
	var names []string
	for _, pod := range app.Pods("v2") {
		names = append(names, pod.GetName())
	}
	assert.Contains(t, names, pods[0].GetName(), "its pods were not replaced")
}
