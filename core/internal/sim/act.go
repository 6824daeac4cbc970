package sim

import (
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// act executes a plan as act.Actor does, and may die before any operation.
func (w *World) act(s *rollout.Snapshot, plan rollout.Plan) (out rollout.Outcome, crashed bool) {
	out = rollout.Outcome{Done: map[rollout.OpID]bool{}, Failed: map[rollout.OpID]error{},
		Steps: map[rollout.OpID]rollout.StepAnswer{}, Converged: map[rollout.OpID]rollout.Convergence{}}
	for _, op := range plan.Ops {
		if !ready(op, out) {
			continue
		}
		if _, intent := op.(rollout.RecordIntent); !intent && w.crash() {
			return out, true
		}
		if err := w.execute(s, op, &out); err != nil {
			out.Failed[op.ID()] = err
			continue
		}
		out.Done[op.ID()] = true
	}
	return out, false
}

func ready(op rollout.Op, out rollout.Outcome) bool {
	for _, id := range op.After() {
		if !out.Done[id] {
			return false
		}
	}
	return true
}

func (w *World) execute(s *rollout.Snapshot, op rollout.Op, out *rollout.Outcome) error {
	switch o := op.(type) {
	case rollout.RecordIntent:
		return nil
	case rollout.PatchRollout:
		return w.patchRollout(s, o, out)
	case rollout.CreateReplicaSet:
		return w.createReplicaSet(s.Rollout, o, out)
	case rollout.AdoptReplicaSet:
		return w.edit(key{kindReplicaSet, o.Name}, o.ResourceVersion, func(obj object) {
			obj.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(s.Rollout, v1alpha1.GroupVersion.WithKind("Rollout"))})
		})
	case rollout.UpdateReplicaSet:
		return w.edit(key{kindReplicaSet, o.Name}, o.ResourceVersion, func(obj object) { resize(obj.(*appsv1.ReplicaSet), o) })
	case rollout.DeleteReplicaSet:
		return w.store.remove(byController, key{kindReplicaSet, o.Name}, o.UID, o.ResourceVersion)
	case rollout.ScaleWorkload:
		return w.scaleWorkload(s.Rollout, o)
	case rollout.EvictPod:
		return w.evict(o)
	case rollout.SyncPods:
		return w.dressPods(o)
	case rollout.PointService:
		return w.edit(key{kindService, o.Name}, o.ResourceVersion, func(obj object) { point(obj.(*corev1.Service), s.Rollout, o) })
	case rollout.RouteTraffic:
		return w.route(o.Router, nil, asked(o.Desired), o.ID(), out)
	case rollout.ReleaseTraffic:
		return w.route(o.Router, kept(s.Rollout, o.Router), left(o), o.ID(), out)
	case rollout.CreateExperiment:
		return w.createExperiment(s.Rollout, o)
	case rollout.TerminateExperiment:
		return w.edit(key{kindExperiment, o.Name}, o.ResourceVersion, func(obj object) { obj.(*v1alpha1.Experiment).Spec.Terminate = true })
	case rollout.DeleteExperiment:
		return w.store.remove(byController, key{kindExperiment, o.Name}, o.UID, o.ResourceVersion)
	case rollout.CallStep:
		return w.callStep(o, out)
	case rollout.CreateAnalysisRun:
		return w.createRun(s.Rollout, o)
	case rollout.TerminateAnalysisRun:
		return w.edit(key{kindAnalysisRun, o.Name}, o.ResourceVersion, func(obj object) { obj.(*v1alpha1.AnalysisRun).Spec.Terminate = true })
	case rollout.DeleteAnalysisRun:
		return w.store.remove(byController, key{kindAnalysisRun, o.Name}, o.UID, o.ResourceVersion)
	}
	return fmt.Errorf("operation %s has unknown type %T", op.ID(), op)
}

// edit is a patch with a resourceVersion precondition.
func (w *World) edit(k key, version string, edit func(object)) error {
	obj, err := w.store.update(byController, k, version, edit)
	if err != nil {
		return err
	}
	w.wrote(obj)
	return nil
}

func (w *World) patchRollout(s *rollout.Snapshot, o rollout.PatchRollout, out *rollout.Outcome) error {
	obj, err := w.store.update(byController, key{kindRollout, s.Rollout.Name}, o.ResourceVersion, func(obj object) {
		ro := obj.(*v1alpha1.Rollout)
		if o.Replicas != nil {
			ro.Spec.Replicas = o.Replicas
		}
		if o.Revision != "" {
			annotate(ro, v1alpha1.AnnotationRevision, o.Revision)
		}
		if o.WorkloadGeneration != "" {
			annotate(ro, v1alpha1.AnnotationWorkloadGeneration, o.WorkloadGeneration)
		}
	})
	if err != nil {
		return err
	}
	out.ResourceVersion = obj.GetResourceVersion()
	w.wrote(obj)
	return nil
}

func (w *World) createReplicaSet(ro *v1alpha1.Rollout, o rollout.CreateReplicaSet, out *rollout.Outcome) error {
	k := key{kindReplicaSet, o.ReplicaSet.Name}
	rs := o.ReplicaSet.DeepCopy()
	defaulted(&rs.Spec.Template.Spec)
	err := w.store.create(byController, k, rs)
	if apierrors.IsAlreadyExists(err) {
		there := find[*appsv1.ReplicaSet](w.store.live, kindReplicaSet, k.name)
		if metav1.IsControlledBy(there, ro) && apiequality.Semantic.DeepEqual(there.Labels, o.ReplicaSet.Labels) {
			return nil
		}
		out.Collision = true
		return fmt.Errorf("ReplicaSet name %s is taken", k.name)
	}
	w.created(k)
	return err
}

func (w *World) createRun(ro *v1alpha1.Rollout, o rollout.CreateAnalysisRun) error {
	k := key{kindAnalysisRun, o.Run.Name}
	err := w.store.create(byController, k, o.Run)
	if apierrors.IsAlreadyExists(err) {
		if metav1.IsControlledBy(w.store.live[k], ro) {
			return nil
		}
		return fmt.Errorf("AnalysisRun %s exists and is not ours", k.name)
	}
	w.created(k)
	return err
}

func resize(rs *appsv1.ReplicaSet, o rollout.UpdateReplicaSet) {
	if o.Scales() {
		to := o.To
		rs.Spec.Replicas = &to
	}
	if o.MinReadySeconds != nil {
		rs.Spec.MinReadySeconds = *o.MinReadySeconds
	}
	if t := o.Template; t != nil {
		rs.Spec.Template.Labels = changed(rs.Spec.Template.Labels, t.Labels)
		rs.Spec.Template.Annotations = changed(rs.Spec.Template.Annotations, t.Annotations)
		if t.SetAffinity {
			rs.Spec.Template.Spec.Affinity = t.Affinity
		}
	}
	for name, value := range o.Annotations {
		if value == nil {
			delete(rs.Annotations, name)
		} else {
			annotate(rs, name, *value)
		}
	}
}

func point(svc *corev1.Service, ro *v1alpha1.Rollout, o rollout.PointService) {
	selector := maps.Clone(svc.Spec.Selector)
	if selector == nil {
		selector = map[string]string{}
	}
	selector[v1alpha1.LabelPodTemplateHash] = o.To
	svc.Spec.Selector = selector
	if o.Claim {
		annotate(svc, v1alpha1.AnnotationManagedBy, ro.Name)
	}
}

func annotate(obj object, name, value string) {
	annotations := maps.Clone(obj.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[name] = value
	obj.SetAnnotations(annotations)
}
