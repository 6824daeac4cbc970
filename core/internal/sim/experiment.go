package sim

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func (w *World) createExperiment(ro *v1alpha1.Rollout, o rollout.CreateExperiment) error {
	k := key{kindExperiment, o.Experiment.Name}
	err := w.store.create(byController, k, o.Experiment)
	if apierrors.IsAlreadyExists(err) {
		if metav1.IsControlledBy(w.store.live[k], ro) {
			return nil
		}
		return fmt.Errorf("Experiment %s exists and is not ours", k.name)
	}
	w.created(k)
	return err
}

// experimentChanged plays the controller of Experiments: pods come up, take
// traffic through a Service each, and the whole ends with the scripted verdict,
// or when it is told to end.
func (w *World) experimentChanged(before, ex *v1alpha1.Experiment) {
	name := ex.Name
	switch {
	case before == nil:
		verdict := w.Experiment(ex)
		w.after(w.Latency, func() { w.experimentIs(name, v1alpha1.AnalysisPhasePending, "") })
		w.after(w.Latency+w.StartUp, func() { w.experimentIs(name, v1alpha1.AnalysisPhaseRunning, "") })
		w.after(w.Latency+w.StartUp+verdict.After, func() { w.experimentIs(name, verdict.Phase, verdict.Message) })
	case ex.Spec.Terminate && !before.Spec.Terminate:
		w.judgeEnd(ex)
		w.after(w.Latency, func() { w.experimentIs(name, v1alpha1.AnalysisPhaseSuccessful, "Experiment terminated") })
	}
}

func (w *World) experimentIs(name string, phase v1alpha1.AnalysisPhase, message string) {
	_, _ = w.store.update(byCluster, key{kindExperiment, name}, "", func(obj object) {
		ex := obj.(*v1alpha1.Experiment)
		if ex.Status.Phase.Completed() {
			return
		}
		ex.Status.Phase, ex.Status.Message = phase, message
		ex.Status.TemplateStatuses = nil
		for _, t := range ex.Spec.Templates {
			st := v1alpha1.TemplateStatus{Name: t.Name, Status: v1alpha1.TemplateStatusProgressing}
			if phase != v1alpha1.AnalysisPhasePending {
				st.Status, st.Replicas, st.AvailableReplicas = v1alpha1.TemplateStatusRunning, 1, 1
				st.PodTemplateHash = "exp-" + t.Name
			}
			if t.Service != nil {
				st.ServiceName = shareService(name, t.Name)
				w.shareServiceExists(st.ServiceName)
			}
			ex.Status.TemplateStatuses = append(ex.Status.TemplateStatuses, st)
		}
	})
}

// shareService is the Service of a template; the mark in it tells the simulated
// router whose backend it is.
func shareService(experiment, template string) string { return experiment + "-exp-" + template }

func (w *World) shareServiceExists(name string) {
	_ = w.store.create(byCluster, key{kindService, name}, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace}})
}

// experimentOf is the Experiment behind a Service, nil for any other.
func (w *World) experimentOf(service string) *v1alpha1.Experiment {
	name, _, ours := strings.Cut(service, "-exp-")
	if !ours {
		return nil
	}
	if ex := find[*v1alpha1.Experiment](w.store.live, kindExperiment, name); ex != nil {
		return ex
	}
	return &v1alpha1.Experiment{ObjectMeta: metav1.ObjectMeta{Name: name}} // deleted
}

// judgeShare is S1, S10 and S17 for the pods of an Experiment.
func (w *World) judgeShare(ex *v1alpha1.Experiment, b Backend) {
	ro := w.Rollout()
	switch {
	case ex.Status.Phase != v1alpha1.AnalysisPhaseRunning:
		w.broken("S1", "%s rises to %d while its Experiment is %s", b.Service, b.Weight, ex.Status.Phase)
	case ro.Status.Abort && ro.Status.StableRS != ro.Status.CurrentPodHash:
		w.broken("S10", "%s rises to %d after an abort", b.Service, b.Weight)
	case ro.Spec.Paused:
		w.broken("S17", "%s rises to %d while spec.paused is set", b.Service, b.Weight)
	}
}

// shareIn is the weight of experiments in a place.
func (w *World) shareIn(p Place) int64 {
	var sum int64
	for _, b := range p.Backends {
		if w.experimentOf(b.Service) != nil {
			sum += int64(b.Weight)
		}
	}
	return sum
}

// judgeEnd is S2: an Experiment is told to end when nothing goes to its pods.
func (w *World) judgeEnd(ex *v1alpha1.Experiment) {
	if left := w.weightOf(func(svc string) bool { return strings.HasPrefix(svc, ex.Name+"-exp-") }); left > 0 {
		w.broken("S2", "Experiment %s is told to end while weight %d goes to its pods", ex.Name, left)
	}
}

func (j *journal) experiment(w *World, c change) {
	ex, ok := c.after.(*v1alpha1.Experiment)
	if !ok {
		j.add(w, "exp     %s is deleted", c.before.GetName())
		return
	}
	old, _ := c.before.(*v1alpha1.Experiment)
	switch {
	case old == nil:
		j.add(w, "exp     %s is created", ex.Name)
	case ex.Spec.Terminate && !old.Spec.Terminate:
		j.add(w, "exp     %s is told to end", ex.Name)
	case ex.Status.Phase != old.Status.Phase:
		j.add(w, "exp     %s: %s", ex.Name, ex.Status.Phase)
	}
}

// Experiment is a step that compares the two revisions, each with a share of
// the traffic.
func Experiment(weight int32) v1alpha1.CanaryStep {
	return v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{
		Duration: "20s",
		Templates: []v1alpha1.RolloutExperimentTemplate{
			{Name: "baseline", SpecRef: v1alpha1.StableSpecRef, Weight: &weight},
			{Name: "candidate", SpecRef: v1alpha1.CanarySpecRef, Weight: &weight},
		},
	}}
}
