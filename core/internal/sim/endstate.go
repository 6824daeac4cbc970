package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// EndState is everything that is stored, without times and versions, one line
// a fact, so that two runs can be compared.
func (w *World) EndState() string {
	var out []string
	if ro := w.Rollout(); ro != nil {
		out = append(out, "spec "+encoded(ro.Spec), "annotations "+encoded(ro.Annotations))
		out = append(out, statusFacts(ro.Status)...)
	}
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		out = append(out, fmt.Sprintf("ReplicaSet %s %d/%d %s", rs.Name, rs.Status.AvailableReplicas, rollout.SpecReplicas(rs), encoded(rs.Annotations)))
	}
	for _, svc := range list[*corev1.Service](w.store.live, kindService) {
		out = append(out, fmt.Sprintf("Service %s %s %s", svc.Name, encoded(svc.Spec.Selector), encoded(svc.Annotations)))
	}
	for _, d := range list[*appsv1.Deployment](w.store.live, kindDeployment) {
		out = append(out, fmt.Sprintf("Deployment %s %d %s %s", d.Name, *d.Spec.Replicas, encoded(d.Labels), encoded(d.Annotations)))
	}
	for _, r := range list[*Route](w.store.live, kindRoute) {
		out = append(out, fmt.Sprintf("Route %s %s", r.Name, places(r.Places)))
	}
	for _, run := range list[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun) {
		out = append(out, fmt.Sprintf("AnalysisRun %s %s", run.Name, run.Status.Phase))
	}
	text := strings.Join(out, "\n")
	for hash, name := range w.journal.alias {
		text = strings.ReplaceAll(text, hash, name)
	}
	return text
}

// statusFacts lists the conditions by type: their order tells when they
// changed, which a restart may shift.
func statusFacts(st v1alpha1.RolloutStatus) []string {
	st = *st.DeepCopy()
	var out []string
	conditions := map[string]string{}
	for _, c := range st.Conditions {
		conditions[string(c.Type)] = fmt.Sprintf("condition %s %s %s %q", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, k := range slices.Sorted(maps.Keys(conditions)) {
		out = append(out, conditions[k])
	}
	st.Conditions = nil
	if st.AbortedAt != nil {
		st.AbortedAt = &metav1.Time{Time: epoch}
	}
	if st.Duration != nil {
		st.Duration = &v1alpha1.RolloutDuration{CompletionStatus: st.Duration.CompletionStatus}
	}
	for i := range st.PauseConditions {
		st.PauseConditions[i].StartTime = metav1.NewTime(epoch)
	}
	for i := range st.Canary.Routers {
		r := &st.Canary.Routers[i]
		for _, at := range []**metav1.Time{&r.Since, &r.SettledSince} {
			if *at != nil {
				*at = &metav1.Time{Time: epoch}
			}
		}
	}
	// A call that was lost with the process is made again, so their number and
	// their times are not the same.
	for i := range st.Canary.StepPluginStatuses {
		e := &st.Canary.StepPluginStatuses[i]
		e.StartedAt, e.UpdatedAt, e.FinishedAt, e.Status = nil, nil, nil, nil
		e.Executions = min(e.Executions, 1)
	}
	// Observed generations count writes of spec, which a restart does not add.
	return append(out, "status "+encoded(st))
}

func encoded(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
