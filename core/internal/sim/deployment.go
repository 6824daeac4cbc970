package sim

import (
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Deployment is the name of the workload that AddDeployment creates.
const Deployment = "web"

// AddDeployment creates a Deployment of a version, for Rollouts that refer to
// it. It has no pods in this cluster: only its size is told.
func (w *World) AddDeployment(version string, replicas int32) {
	w.must(w.store.create(byUser, key{kindDeployment, Deployment}, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: Deployment, Namespace: Namespace},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: PodTemplate(version),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": Name}}},
	}))
}

// Referring is the Rollout, with its template and selector taken from the
// Deployment.
func Referring(ro *v1alpha1.Rollout, scaleDown string) *v1alpha1.Rollout {
	ro.Spec.Template, ro.Spec.Selector = PodTemplate(""), nil
	ro.Spec.Template.Labels, ro.Spec.Template.Spec.Containers = nil, nil
	ro.Spec.WorkloadRef = &v1alpha1.ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Name: Deployment, ScaleDown: scaleDown}
	return ro
}

// EditDeployment is a user's change of the Deployment.
func (w *World) EditDeployment(what string, edit func(*appsv1.Deployment)) {
	w.note("a user " + what)
	_, err := w.store.update(byUser, key{kindDeployment, Deployment}, "", func(obj object) { edit(obj.(*appsv1.Deployment)) })
	w.must(err)
}

// DeleteDeployment removes it.
func (w *World) DeleteDeployment() {
	w.note("a user deletes the Deployment")
	w.must(w.store.remove(byUser, key{kindDeployment, Deployment}, "", ""))
}

// refer resolves spec.workloadRef as observe does.
func (w *World) refer(s *rollout.Snapshot) error {
	ref := s.Rollout.Spec.WorkloadRef
	if ref == nil {
		return nil
	}
	d := find[*appsv1.Deployment](w.cache.objects, kindDeployment, ref.Name)
	if d == nil {
		s.Workload = &rollout.Workload{Problem: &rollout.Problem{Class: rollout.ProblemInvalid,
			Message: ref.Kind + " " + strconv.Quote(ref.Name) + " does not exist in namespace " + strconv.Quote(s.Rollout.Namespace) + "; create it or correct the name"}}
		return nil
	}
	if w.behind(d) {
		return errBehind
	}
	s.Refer(d)
	return nil
}

func (w *World) scaleWorkload(ro *v1alpha1.Rollout, o rollout.ScaleWorkload) error {
	return w.edit(key{kindDeployment, o.Name}, o.ResourceVersion, func(obj object) {
		d, to := obj.(*appsv1.Deployment), o.To
		d.Spec.Replicas = &to
		if o.Remember == nil {
			return
		}
		d.Labels = maps.Clone(d.Labels)
		if d.Labels == nil {
			d.Labels = map[string]string{}
		}
		d.Labels[rollout.LabelScaledDown] = "true"
		annotate(d, rollout.AnnotationScaledDownBy, ro.Name)
		annotate(d, rollout.AnnotationReplicas, strconv.Itoa(int(*o.Remember)))
	})
}

func (j *journal) deployment(w *World, c change) {
	d, ok := c.after.(*appsv1.Deployment)
	if !ok {
		j.add(w, "workload Deployment %s is deleted", c.before.GetName())
		return
	}
	if old, ok := c.before.(*appsv1.Deployment); ok && *old.Spec.Replicas != *d.Spec.Replicas {
		j.add(w, "workload Deployment %s: %d wanted (was %d) by %s", d.Name, *d.Spec.Replicas, *old.Spec.Replicas, c.by)
	}
}
