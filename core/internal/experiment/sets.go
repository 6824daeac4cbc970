package experiment

import (
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// scale creates and sizes the ReplicaSets: as wanted while a template takes
// part, to 0 after a delay when it does not.
func (p *planner) scale() {
	used := p.usedHashes()
	for i, t := range p.ex.Spec.Templates {
		rs, st := p.sets[t.Name], &p.plan.Status.TemplateStatuses[i]
		switch {
		case !p.takesPart(st):
			p.windDown(rs)
		case rs == nil:
			p.create(t, st, used)
		default:
			p.windUp(rs, t.ReplicasOrDefault())
		}
	}
	for _, rs := range p.spare {
		p.windDown(rs)
	}
}

func (p *planner) takesPart(st *v1alpha1.TemplateStatus) bool {
	return !p.ending && !p.plan.Status.Phase.Completed() && !st.Status.Completed()
}

// windUp undoes what an earlier attempt's end began.
func (p *planner) windUp(rs *appsv1.ReplicaSet, want int32) {
	annotations := map[string]*string{}
	if _, has := rs.Annotations[v1alpha1.AnnotationScaleDownDeadline]; has {
		annotations[v1alpha1.AnnotationScaleDownDeadline] = nil
	}
	p.update(rs, want, annotations)
}

// windDown scales to 0 when the delay is over, and not before the Rollout has
// taken its traffic off.
func (p *planner) windDown(rs *appsv1.ReplicaSet) {
	if rs == nil || rollout.SpecReplicas(rs) == 0 || p.s.routed(rollout.Hash(rs)) {
		return // the write to the Rollout's status starts the next pass
	}
	delay := p.ex.Spec.ScaleDownDelay()
	if delay <= 0 {
		p.update(rs, 0, nil)
		return
	}
	end, err := time.Parse(time.RFC3339, rs.Annotations[v1alpha1.AnnotationScaleDownDeadline])
	if err != nil {
		end = p.s.Now.Add(delay).UTC().Truncate(time.Second)
		text := end.Format(time.RFC3339)
		p.update(rs, rollout.SpecReplicas(rs), map[string]*string{v1alpha1.AnnotationScaleDownDeadline: &text})
	}
	if p.s.Now.Before(end) {
		p.wake(end)
		return
	}
	if err == nil {
		p.update(rs, 0, map[string]*string{v1alpha1.AnnotationScaleDownDeadline: nil})
	}
}

func (p *planner) update(rs *appsv1.ReplicaSet, to int32, annotations map[string]*string) {
	from := rollout.SpecReplicas(rs)
	if from == to && len(annotations) == 0 {
		return
	}
	p.add(rollout.UpdateReplicaSet{
		Identity: identity("replicaset", rs.Name), Name: rs.Name, ResourceVersion: rs.ResourceVersion,
		Hash: rollout.Hash(rs), From: from, To: to, Annotations: annotations,
	})
}

func (p *planner) usedHashes() map[string]bool {
	used := map[string]bool{}
	maps.Copy(used, p.s.Taken)
	for _, rs := range p.s.ReplicaSets {
		used[rollout.Hash(rs)] = true
	}
	return used
}

// create plans the ReplicaSet of a template. Its hash is no other ReplicaSet's
// of the namespace: Services select by it, and those of a Rollout must not find
// the pods of its experiment.
func (p *planner) create(t v1alpha1.TemplateSpec, st *v1alpha1.TemplateStatus, used map[string]bool) {
	template := *t.Template.DeepCopy()
	template.Labels = withoutHash(template.Labels)
	hash := rollout.TemplateHash(template, st.CollisionCount)
	for used[hash] {
		next := int32(1)
		if st.CollisionCount != nil {
			next = *st.CollisionCount + 1
		}
		st.CollisionCount = &next
		hash = rollout.TemplateHash(template, st.CollisionCount)
	}
	used[hash] = true
	st.PodTemplateHash = hash
	p.add(CreateReplicaSet{
		Identity: identity("create-replicaset", t.Name), Template: t.Name, ReplicaSet: replicaSet(p.ex, t, template, hash),
	})
}

func replicaSet(ex *v1alpha1.Experiment, t v1alpha1.TemplateSpec, template corev1.PodTemplateSpec, hash string) *appsv1.ReplicaSet {
	template.Labels = withHash(template.Labels, hash)
	selector := t.Selector.DeepCopy()
	selector.MatchLabels = withHash(selector.MatchLabels, hash)
	zero := int32(0)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            ex.Name + "-" + t.Name,
			Namespace:       ex.Namespace,
			Labels:          map[string]string{v1alpha1.LabelPodTemplateHash: hash},
			Annotations:     annotations(ex, t),
			OwnerReferences: []metav1.OwnerReference{owner(ex)},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &zero, MinReadySeconds: t.MinReadySeconds, Selector: selector, Template: template},
	}
}

func annotations(ex *v1alpha1.Experiment, t v1alpha1.TemplateSpec) map[string]string {
	return map[string]string{
		v1alpha1.AnnotationExperimentName:         ex.Name,
		v1alpha1.AnnotationExperimentTemplateName: t.Name,
	}
}

func owner(ex *v1alpha1.Experiment) metav1.OwnerReference {
	return *metav1.NewControllerRef(ex, v1alpha1.GroupVersion.WithKind("Experiment"))
}

func withHash(labels map[string]string, hash string) map[string]string {
	out := withoutHash(labels)
	out[v1alpha1.LabelPodTemplateHash] = hash
	return out
}

// withoutHash drops the hash a template inherited from the ReplicaSet it was
// copied from.
func withoutHash(labels map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range labels {
		if k != v1alpha1.LabelPodTemplateHash {
			out[k] = v
		}
	}
	return out
}
