package preview

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// Objects are what a plan or an explanation is made from: a Rollout and what
// surrounds it, as an API server or a file has them. Objects of other Rollouts
// among them do no harm. Nobody modifies them.
type Objects struct {
	Rollout          *v1alpha1.Rollout
	ReplicaSets      []*appsv1.ReplicaSet
	Pods             []*corev1.Pod
	Services         []*corev1.Service
	Templates        []*v1alpha1.AnalysisTemplate
	ClusterTemplates []*v1alpha1.ClusterAnalysisTemplate
	AnalysisRuns     []*v1alpha1.AnalysisRun
	Experiments      []*v1alpha1.Experiment
	// Workload is what spec.workloadRef names: a *Deployment, *ReplicaSet or
	// *PodTemplate; nil where there is none.
	Workload metav1.Object
	// Others are the other Rollouts of the namespace; they may hold Services.
	Others []*v1alpha1.Rollout
}

// seed is the part of the objects that belongs to the Rollout, as the simulator
// takes it.
func (o Objects) seed(now time.Time) sim.Seed {
	ro := o.Rollout
	s := sim.Seed{Now: now, Rollout: ro, Services: o.Services, Owners: o.owners(), Templates: o.Templates, ClusterTemplates: o.ClusterTemplates,
		AnalysisRuns: owned(ro, o.AnalysisRuns), Experiments: owned(ro, o.Experiments), Deployment: o.deployment()}
	sel, err := metav1.LabelSelectorAsSelector(ro.Spec.Selector)
	for _, rs := range o.ReplicaSets {
		orphan := metav1.GetControllerOf(rs) == nil && err == nil && sel.Matches(labelSet(rs.Labels))
		if metav1.IsControlledBy(rs, ro) || orphan {
			s.ReplicaSets = append(s.ReplicaSets, rs)
			s.Pods = append(s.Pods, podsOf(rs, o.Pods)...)
		} else {
			s.Taken = append(s.Taken, rs)
		}
	}
	return s
}

// deployment is the workload as the simulator knows it: whatever its kind, only
// template and size matter.
func (o Objects) deployment() *appsv1.Deployment {
	if d, ok := o.Workload.(*appsv1.Deployment); ok {
		return d
	}
	meta, template, selector, replicas, ok := rollout.WorkloadObject(o.Workload)
	if !ok {
		return nil
	}
	return &appsv1.Deployment{ObjectMeta: *meta, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: *template}}
}

func owned[T metav1.Object](ro *v1alpha1.Rollout, all []T) []T {
	var out []T
	for _, o := range all {
		if metav1.IsControlledBy(o, ro) {
			out = append(out, o)
		}
	}
	return out
}

// owners are the other Rollouts that manage Services, by Service.
func (o Objects) owners() map[string]string {
	out := map[string]string{}
	for _, svc := range o.Services {
		by := svc.Annotations[v1alpha1.AnnotationManagedBy]
		for _, other := range o.Others {
			if other.Name == by && by != o.Rollout.Name {
				for _, name := range rollout.ServiceNames(other) {
					if name == svc.Name {
						out[svc.Name] = by
					}
				}
			}
		}
	}
	return out
}

func podsOf(rs *appsv1.ReplicaSet, all []*corev1.Pod) []sim.Pod {
	var out []sim.Pod
	for _, p := range all {
		if !metav1.IsControlledBy(p, rs) || p.DeletionTimestamp != nil {
			continue
		}
		have := sim.Pod{Name: p.Name, ReplicaSet: rs.Name, Created: p.CreationTimestamp.Time, Started: p.CreationTimestamp.Time,
			Labels: p.Labels, Annotations: p.Annotations, Available: available(p, rs.Spec.MinReadySeconds)}
		for _, c := range p.Status.ContainerStatuses {
			if r := c.State.Running; r != nil && r.StartedAt.After(have.Started) {
				have.Started = r.StartedAt.Time
			}
		}
		out = append(out, have)
	}
	return out
}

func available(p *corev1.Pod, minReady int32) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && minReady == 0 || c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero()
		}
	}
	return false
}

// placeholders adds what the Rollout refers to and nobody has shown: Services
// that select its pods, templates that succeed. It names what it added.
func (o Objects) placeholders() (Objects, []string) {
	var added []string
	ro := o.Rollout
	have := map[string]bool{"": true}
	for _, s := range o.Services {
		have[s.Name] = true
	}
	for _, name := range rollout.ServiceNames(ro) {
		if !have[name] {
			have[name] = true
			added = append(added, "Service "+name)
			selector := map[string]string{}
			if ro.Spec.Selector != nil {
				selector = ro.Spec.Selector.MatchLabels
			}
			o.Services = append(o.Services[:len(o.Services):len(o.Services)], &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ro.Namespace}, Spec: corev1.ServiceSpec{Selector: selector}})
		}
	}
	names, clusterNames := map[string]bool{}, map[string]bool{}
	queue := rollout.TemplateRefs(ro)
	for _, t := range o.Templates {
		names[t.Name] = true
		queue = append(queue, t.Spec.Templates...)
	}
	for _, t := range o.ClusterTemplates {
		clusterNames[t.Name] = true
		queue = append(queue, t.Spec.Templates...)
	}
	for _, ref := range queue {
		meta := metav1.ObjectMeta{Name: ref.TemplateName, Namespace: ro.Namespace}
		switch {
		case ref.ClusterScope && !clusterNames[ref.TemplateName]:
			clusterNames[ref.TemplateName] = true
			added = append(added, "ClusterAnalysisTemplate "+ref.TemplateName)
			meta.Namespace = ""
			o.ClusterTemplates = append(o.ClusterTemplates[:len(o.ClusterTemplates):len(o.ClusterTemplates)],
				&v1alpha1.ClusterAnalysisTemplate{ObjectMeta: meta, Spec: anyTemplate(ref.TemplateName)})
		case !ref.ClusterScope && !names[ref.TemplateName]:
			names[ref.TemplateName] = true
			added = append(added, "AnalysisTemplate "+ref.TemplateName)
			o.Templates = append(o.Templates[:len(o.Templates):len(o.Templates)], &v1alpha1.AnalysisTemplate{ObjectMeta: meta, Spec: anyTemplate(ref.TemplateName)})
		}
	}
	return o, added
}

func anyTemplate(name string) v1alpha1.AnalysisTemplateSpec {
	return v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: "unknown-" + name,
		Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Address: "http://prometheus", Query: "up"}}}}}
}
