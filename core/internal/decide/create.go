package decide

import (
	"maps"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const (
	opPatchRollout     rollout.OpID = "rollout"
	opCreateReplicaSet rollout.OpID = "create-replicaset"
)

// defaults writes spec.replicas: an autoscaler needs a value to scale from.
// The pass ends there; the write starts the next one.
func (p *planner) defaults() bool {
	if p.ro.Spec.Replicas != nil || p.veto {
		return false
	}
	one := int32(1)
	p.add(rollout.PatchRollout{
		Identity:        rollout.Identity{OpID: opPatchRollout},
		ResourceVersion: p.ro.ResourceVersion,
		Replicas:        &one,
	})
	return true
}

// renew starts a new revision, or the same one with other steps: it creates or
// finds the ReplicaSet, numbers it and resets the position. The pass ends
// there. While something vetoes it, the current revision is carried on.
func (p *planner) renew() bool {
	st := p.ro.Status
	if p.hash == st.CurrentPodHash && p.plan.StepHash == st.CurrentStepHash && p.newRS != nil {
		return false
	}
	if p.veto {
		p.work(st.CurrentPodHash)
		p.plan.Hash, p.plan.StepHash = st.CurrentPodHash, st.CurrentStepHash
		return p.newRS == nil && p.stableRS == nil
	}
	if (p.hash != st.CurrentPodHash || p.plan.StepHash != st.CurrentStepHash) && p.superseded() {
		return true
	}
	after := p.numbered()
	if p.hash == st.CurrentPodHash && p.plan.StepHash == st.CurrentStepHash {
		return true // the ReplicaSet was deleted and is made again; the position stays
	}
	p.move(rollout.Transition{Kind: rollout.TransitionReset, Index: p.resetIndex(), Message: p.shortcut(), After: after})
	return true
}

// numbered makes sure the wanted ReplicaSet exists and carries the highest
// revision, on it and on the Rollout; it returns what that takes. Nothing looks
// at the numbers later, so the position is reset only when all of it is done.
func (p *planner) numbered() []rollout.OpID {
	next := p.nextRevision()
	if p.newRS != nil && revision(p.newRS) >= next {
		next = revision(p.newRS)
	}
	p.plan.Revision = next
	number := strconv.Itoa(next)
	var after []rollout.OpID
	if p.ro.Annotations[v1alpha1.AnnotationRevision] != number {
		p.add(rollout.PatchRollout{
			Identity:        rollout.Identity{OpID: opPatchRollout},
			ResourceVersion: p.ro.ResourceVersion,
			Revision:        number,
		})
		after = append(after, opPatchRollout)
	}
	if p.newRS == nil {
		p.add(rollout.CreateReplicaSet{
			Identity:   rollout.Identity{OpID: opCreateReplicaSet, DependsOn: after},
			ReplicaSet: p.replicaSet(number),
		})
		return append(after, opCreateReplicaSet)
	}
	if revision(p.newRS) != next {
		p.add(p.renumber(number))
		after = append(after, opReplicaSet(p.newRS.Name))
	} else if p.outdated() {
		n := rollout.SpecReplicas(p.newRS)
		p.add(p.update(p.newRS, n, n, map[string]*string{v1alpha1.AnnotationScaleDownDeadline: nil}))
		after = append(after, opReplicaSet(p.newRS.Name))
	}
	return after
}

// renumber raises the revision of a ReplicaSet that is used again and keeps
// its old number in the history.
func (p *planner) renumber(number string) rollout.Op {
	ann := map[string]*string{v1alpha1.AnnotationRevision: &number}
	if old := p.newRS.Annotations[v1alpha1.AnnotationRevision]; old != "" {
		history := old
		if h := p.newRS.Annotations[v1alpha1.AnnotationRevisionHistory]; h != "" {
			history = h + "," + old
		}
		ann[v1alpha1.AnnotationRevisionHistory] = &history
	}
	if p.outdated() {
		ann[v1alpha1.AnnotationScaleDownDeadline] = nil
	}
	n := rollout.SpecReplicas(p.newRS)
	return p.update(p.newRS, n, n, ann)
}

// outdated: the deadline of the wanted ReplicaSet does not make it one that has
// served and had not left yet: it is over, or that of its own abort.
func (p *planner) outdated() bool {
	text, has := p.newRS.Annotations[v1alpha1.AnnotationScaleDownDeadline]
	at, err := time.Parse(time.RFC3339, text)
	given := p.ro.Status.AbortedAt != nil && rollout.Hash(p.newRS) == p.ro.Status.CurrentPodHash
	return has && (err != nil || given || !p.s.Now.Before(at))
}

func (p *planner) update(rs *appsv1.ReplicaSet, from, to int32, ann map[string]*string) rollout.UpdateReplicaSet {
	return rollout.UpdateReplicaSet{
		Identity:        rollout.Identity{OpID: opReplicaSet(rs.Name)},
		Name:            rs.Name,
		ResourceVersion: rs.ResourceVersion,
		Hash:            rollout.Hash(rs),
		Revision:        rs.Annotations[v1alpha1.AnnotationRevision],
		From:            from,
		To:              to,
		Annotations:     ann,
	}
}

func opReplicaSet(name string) rollout.OpID { return rollout.OpID("replicaset/" + name) }

// unhandedAnnotations are those of the Rollout that mean nothing, or something
// else, on a ReplicaSet.
var unhandedAnnotations = []string{
	"kubectl.kubernetes.io/last-applied-configuration",
	v1alpha1.AnnotationRevision,
	v1alpha1.AnnotationRevisionHistory,
	v1alpha1.AnnotationDesiredReplicas,
	v1alpha1.AnnotationNotified,
	v1alpha1.AnnotationWorkloadGeneration,
	v1alpha1.AnnotationEphemeralMetadata,
}

// replicaSet is the object for a revision that has none yet: 0 replicas, our
// hash in labels and selector, the Rollout as controller.
func (p *planner) replicaSet(number string) *appsv1.ReplicaSet {
	template := *p.ro.Spec.Template.DeepCopy()
	role := p.firstRole()
	template.Labels = withHash(template.Labels, p.hash)
	labels := maps.Clone(template.Labels)
	template.Labels, template.Annotations = merged(template.Labels, role.Labels), merged(template.Annotations, role.Annotations)
	template.Spec.Affinity = p.affinity(template)
	selector := &metav1.LabelSelector{}
	if p.ro.Spec.Selector != nil {
		selector = p.ro.Spec.Selector.DeepCopy()
	}
	selector.MatchLabels = withHash(selector.MatchLabels, p.hash)
	annotations := maps.Clone(p.ro.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	for _, k := range unhandedAnnotations {
		delete(annotations, k)
	}
	annotations[v1alpha1.AnnotationRevision] = number
	annotations[v1alpha1.AnnotationDesiredReplicas] = strconv.Itoa(int(p.want))
	if encoded := encodeMetadata(role); encoded != nil {
		annotations[v1alpha1.AnnotationEphemeralMetadata] = *encoded
	}
	zero := int32(0)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            p.ro.Name + "-" + p.hash,
			Namespace:       p.ro.Namespace,
			Labels:          labels,
			Annotations:     annotations,
			OwnerReferences: []metav1.OwnerReference{*controllerRef(p.ro)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        &zero,
			MinReadySeconds: p.ro.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        template,
		},
	}
}

func controllerRef(ro *v1alpha1.Rollout) *metav1.OwnerReference {
	return metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))
}

func withHash(labels map[string]string, hash string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	out[v1alpha1.LabelPodTemplateHash] = hash
	return out
}

// resetIndex is where an update starts: at the first step, behind the last one
// when the wanted revision is the stable one, nowhere without steps.
func (p *planner) resetIndex() *int32 {
	if len(p.steps()) == 0 {
		return nil
	}
	var at int32
	if p.shortcut() != "" {
		at = int32(len(p.steps()))
	}
	return &at
}

// shortcut says why an update starts behind its last step; "" when it starts at
// the first one. A revision without pods plays no step either, but its pods
// come first.
func (p *planner) shortcut() string {
	switch {
	case p.promoted():
		return "Rollback to stable ReplicaSets"
	case p.inWindow() && rollout.SpecReplicas(p.newRS) > 0:
		return "Rollback to ReplicaSets within the rollback window"
	}
	return ""
}

// adopt takes ReplicaSets without a controller that match the selector.
func (p *planner) adopt() {
	if p.veto {
		return
	}
	for _, rs := range p.s.ReplicaSets {
		if metav1.GetControllerOf(rs) == nil {
			p.add(rollout.AdoptReplicaSet{
				Identity:        rollout.Identity{OpID: "adopt/" + rollout.OpID(rs.Name)},
				Name:            rs.Name,
				UID:             string(rs.UID),
				ResourceVersion: rs.ResourceVersion,
			})
		}
	}
}
