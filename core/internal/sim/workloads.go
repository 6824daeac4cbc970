package sim

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// pod of a ReplicaSet; it is available from a moment on, unless it is broken.
type pod struct {
	name                string
	created, from       time.Time
	broken              bool
	labels, annotations map[string]string
}

// replicaSetChanged lets the ReplicaSet controller look at a changed one.
func (w *World) replicaSetChanged(rs *appsv1.ReplicaSet) {
	name := rs.Name
	w.after(w.Latency, func() { w.syncPods(name) })
}

// syncPods makes as many pods as the spec says and reports them.
func (w *World) syncPods(name string) {
	rs := find[*appsv1.ReplicaSet](w.store.live, kindReplicaSet, name)
	if rs == nil {
		delete(w.pods, name)
		return
	}
	pods, want := w.pods[name], int(rollout.SpecReplicas(rs))
	for len(pods) < want {
		w.podsMade++
		p := pod{name: fmt.Sprintf("%s-%d", name, w.podsMade), created: w.now.Truncate(time.Second),
			labels: rs.Spec.Template.Labels, annotations: rs.Spec.Template.Annotations, from: w.now.Add(w.StartUp + time.Duration(rs.Spec.MinReadySeconds)*time.Second), broken: w.Broken[image(rs.Spec.Template)]}
		pods = append(pods, p)
		w.after(p.from.Sub(w.now), func() { w.syncPods(name) })
	}
	for len(pods) > want {
		pods = dropWorst(pods, w.now)
	}
	w.pods[name] = pods
	all := 0
	for _, p := range w.pods {
		all += len(p)
	}
	w.peak = max(w.peak, all)
	w.reportPods(rs)
}

// dropWorst removes a pod that is not available, if there is one.
func dropWorst(pods []pod, now time.Time) []pod {
	for i := len(pods) - 1; i >= 0; i-- {
		if pods[i].broken || pods[i].from.After(now) {
			return append(pods[:i:i], pods[i+1:]...)
		}
	}
	return pods[:len(pods)-1]
}

func (w *World) reportPods(rs *appsv1.ReplicaSet) {
	var available int32
	for _, p := range w.pods[rs.Name] {
		if !p.broken && !p.from.After(w.now) {
			available++
		}
	}
	generation := rs.Generation
	_, _ = w.store.update(byCluster, key{kindReplicaSet, rs.Name}, "", func(obj object) {
		st := &obj.(*appsv1.ReplicaSet).Status
		st.Replicas, st.FullyLabeledReplicas = int32(len(w.pods[rs.Name])), int32(len(w.pods[rs.Name]))
		st.ReadyReplicas, st.AvailableReplicas, st.ObservedGeneration = available, available, generation
	})
}

// Crash makes every pod of a version unavailable, and new ones too, until
// Recover.
func (w *World) Crash(version string) {
	w.Broken[version] = true
	w.note("pods of " + version + " crash")
	w.setBroken(version, true)
}

// Recover lets the pods of a version come up again.
func (w *World) Recover(version string) {
	delete(w.Broken, version)
	w.note("pods of " + version + " recover")
	w.setBroken(version, false)
}

func (w *World) setBroken(version string, broken bool) {
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if image(rs.Spec.Template) != version {
			continue
		}
		pods := append([]pod(nil), w.pods[rs.Name]...)
		for i := range pods {
			if pods[i].broken && !broken {
				pods[i].from = w.now.Add(w.StartUp)
				name := rs.Name
				w.after(w.StartUp, func() { w.syncPods(name) })
			}
			pods[i].broken = broken
		}
		w.pods[rs.Name] = pods
		w.reportPods(rs)
	}
	w.disturbed = true
}

// KillPod makes one pod of a version start again.
func (w *World) KillPod(version string) {
	for _, rs := range list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet) {
		if image(rs.Spec.Template) != version || len(w.pods[rs.Name]) == 0 {
			continue
		}
		pods := append([]pod(nil), w.pods[rs.Name]...)
		pods[0].from = w.now.Add(w.StartUp)
		w.disturbed = true
		w.pods[rs.Name] = pods
		name := rs.Name
		w.after(w.StartUp, func() { w.syncPods(name) })
		w.reportPods(rs)
	}
}

// Verdict is how an AnalysisRun ends, and when.
type Verdict struct {
	Phase   v1alpha1.AnalysisPhase
	Message string
	After   time.Duration
}

// runChanged plays the analysis controller.
func (w *World) runChanged(before, run *v1alpha1.AnalysisRun) {
	name := run.Name
	switch {
	case before == nil:
		verdict := w.Verdict(run)
		w.after(w.Latency, func() { w.finish(name, v1alpha1.AnalysisPhaseRunning, "") })
		w.after(verdict.After, func() { w.finish(name, verdict.Phase, verdict.Message) })
	case run.Spec.Terminate && !before.Spec.Terminate:
		w.after(w.Latency, func() { w.finish(name, v1alpha1.AnalysisPhaseSuccessful, "Run Terminated") })
	}
}

func (w *World) finish(name string, phase v1alpha1.AnalysisPhase, message string) {
	_, _ = w.store.update(byCluster, key{kindAnalysisRun, name}, "", func(obj object) {
		if run := obj.(*v1alpha1.AnalysisRun); !run.Status.Phase.Completed() {
			run.Status.Phase, run.Status.Message = phase, message
		}
	})
}
