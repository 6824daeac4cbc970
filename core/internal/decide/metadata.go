package decide

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// metadata puts canaryMetadata and stableMetadata (previewMetadata and
// activeMetadata) on the revision that has the role, on its template first and
// then on its pods, and takes off what an earlier role has left. It is not part
// of the hash: a role is nothing to restart a pod for.
func (p *planner) metadata() {
	if p.veto {
		return
	}
	for _, rs := range p.s.ReplicaSets {
		if metav1.IsControlledBy(rs, p.ro) && rs.DeletionTimestamp == nil {
			p.dress(rs)
		}
	}
}

// wanted is the metadata of the ReplicaSet's role. The first revision is the
// stable one in the making.
func (p *planner) wanted(rs *appsv1.ReplicaSet) v1alpha1.PodTemplateMetadata {
	return p.roleMetadata(rs == p.newRS && p.moving(), rs == p.newRS || rs == p.stableRS)
}

func (p *planner) roleMetadata(comes, stays bool) v1alpha1.PodTemplateMetadata {
	coming, staying := p.canary.CanaryMetadata, p.canary.StableMetadata
	if p.bg != nil {
		coming, staying = p.bg.PreviewMetadata, p.bg.ActiveMetadata
	}
	var m *v1alpha1.PodTemplateMetadata
	switch {
	case comes:
		m = coming
	case stays:
		m = staying
	}
	if m == nil {
		return v1alpha1.PodTemplateMetadata{}
	}
	return *m
}

// firstRole is the metadata a new ReplicaSet begins with.
func (p *planner) firstRole() v1alpha1.PodTemplateMetadata {
	return p.roleMetadata(p.moving(), true)
}

// dress changes the template of one ReplicaSet where its role asks for it, or,
// once its controller has seen the new template, the pods that were made from
// an older one.
func (p *planner) dress(rs *appsv1.ReplicaSet) {
	want, has := p.wanted(rs), rollout.Injected(rs)
	patch := rollout.TemplatePatch{
		Labels:      changes(rs.Spec.Template.Labels, has.Labels, want.Labels),
		Annotations: changes(rs.Spec.Template.Annotations, has.Annotations, want.Annotations),
	}
	if rs == p.newRS {
		if affinity := p.affinity(rollout.Undressed(rs)); !apiequality.Semantic.DeepEqual(affinity, rs.Spec.Template.Spec.Affinity) {
			patch.SetAffinity, patch.Affinity = true, affinity
		}
	}
	dressed := len(patch.Labels)+len(patch.Annotations) > 0 || !apiequality.Semantic.DeepEqual(want, has)
	if dressed || patch.SetAffinity {
		p.redress(rs, patch, dressed, want, has)
		return
	}
	left, pending := rollout.Undressing(rs)
	if !pending || !p.templatesSeen() {
		return
	}
	p.add(rollout.SyncPods{
		Identity:        rollout.Identity{OpID: "pods/" + rollout.OpID(rs.Name)},
		Name:            rs.Name,
		UID:             string(rs.UID),
		ResourceVersion: rs.ResourceVersion,
		Hash:            rollout.Hash(rs),
		Labels:          all(left.Labels, want.Labels),
		Annotations:     all(left.Annotations, want.Annotations),
	})
}

// templatesSeen reports that the controller of ReplicaSets has seen every template
// a role has changed: the pods of all of them are marked in one plan. Were each
// marked when its own ReplicaSet is reported, the order would be that of two
// status updates of another controller, which no forecast can know.
func (p *planner) templatesSeen() bool {
	for _, rs := range p.s.ReplicaSets {
		if !metav1.IsControlledBy(rs, p.ro) || rs.DeletionTimestamp != nil {
			continue
		}
		if _, pending := rollout.Undressing(rs); pending && (p.writes(rs) || !rollout.Reported(rs)) {
			return false
		}
	}
	return true
}

// redress adds the change of the template to the one write of the ReplicaSet in
// this plan.
func (p *planner) redress(rs *appsv1.ReplicaSet, patch rollout.TemplatePatch, dressed bool, want, has v1alpha1.PodTemplateMetadata) {
	n := rollout.SpecReplicas(rs)
	at, op := -1, p.update(rs, n, n, map[string]*string{})
	for i, planned := range p.plan.Ops {
		switch o := planned.(type) {
		case rollout.AdoptReplicaSet:
			if o.Name == rs.Name {
				return
			}
		case rollout.UpdateReplicaSet:
			if o.Name == rs.Name {
				at, op = i, o
			}
		}
	}
	op.Template = &patch
	if dressed {
		op.Annotations[v1alpha1.AnnotationEphemeralMetadata] = encodeMetadata(want)
		if op.To > 0 || op.From > 0 || rs.Status.Replicas > 0 {
			left, _ := rollout.Undressing(rs)
			left.Labels, left.Annotations = merged(left.Labels, has.Labels), merged(left.Annotations, has.Annotations)
			op.Annotations[rollout.AnnotationPodsMetadata] = rollout.EncodeMetadata(left)
		}
	}
	if at >= 0 {
		p.plan.Ops[at] = op
	} else {
		p.add(op)
	}
}

// encodeMetadata is the annotation's value; nil, which removes it, for nothing.
func encodeMetadata(m v1alpha1.PodTemplateMetadata) *string {
	if len(m.Labels)+len(m.Annotations) == 0 {
		return nil
	}
	return rollout.EncodeMetadata(m)
}

// changes takes off what was put on and is not wanted any more, and puts on what
// is; nil values remove a key. What is right already is left out.
func changes(now, injected, want map[string]string) map[string]*string {
	out := map[string]*string{}
	for k := range injected {
		if _, keep := want[k]; !keep {
			if _, there := now[k]; there {
				out[k] = nil
			}
		}
	}
	for k, v := range want {
		if have, there := now[k]; !there || have != v {
			value := v
			out[k] = &value
		}
	}
	return out
}

// all takes off what was left, and puts on everything that is wanted: what the
// pods have is not known here.
func all(left, want map[string]string) map[string]*string {
	out := changes(left, left, nil)
	for k, v := range want {
		value := v
		out[k] = &value
	}
	return out
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// affinity is that of the template, with the rule that keeps the new revision
// away from the nodes of the stable one while there are two.
func (p *planner) affinity(template corev1.PodTemplateSpec) *corev1.Affinity {
	rule := p.canary.AntiAffinity
	if p.bg != nil {
		rule = p.bg.AntiAffinity
	}
	affinity := template.Spec.Affinity.DeepCopy()
	if rule == nil || p.stable == "" || p.stable == p.hash {
		return affinity
	}
	if affinity == nil {
		affinity = &corev1.Affinity{}
	}
	if affinity.PodAntiAffinity == nil {
		affinity.PodAntiAffinity = &corev1.PodAntiAffinity{}
	}
	anti, term := affinity.PodAntiAffinity, rollout.AwayFrom(p.ro.Namespace, p.stable)
	if preferred := rule.PreferredDuringSchedulingIgnoredDuringExecution; preferred != nil {
		anti.PreferredDuringSchedulingIgnoredDuringExecution = append(anti.PreferredDuringSchedulingIgnoredDuringExecution,
			corev1.WeightedPodAffinityTerm{Weight: preferred.Weight, PodAffinityTerm: term})
	} else if rule.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		anti.RequiredDuringSchedulingIgnoredDuringExecution = append(anti.RequiredDuringSchedulingIgnoredDuringExecution, term)
	}
	return affinity
}

// validMetadata: what a role puts on pods must not make them somebody else's,
// and an anti-affinity is of one kind.
func (p *planner) validMetadata() {
	if bg := p.ro.Spec.Strategy.BlueGreen; bg != nil {
		p.validRole("spec.strategy.blueGreen.previewMetadata", bg.PreviewMetadata)
		p.validRole("spec.strategy.blueGreen.activeMetadata", bg.ActiveMetadata)
		p.validAntiAffinity("spec.strategy.blueGreen.antiAffinity", bg.AntiAffinity)
	}
	if c := p.ro.Spec.Strategy.Canary; c != nil {
		p.validRole("spec.strategy.canary.canaryMetadata", c.CanaryMetadata)
		p.validRole("spec.strategy.canary.stableMetadata", c.StableMetadata)
		p.validAntiAffinity("spec.strategy.canary.antiAffinity", c.AntiAffinity)
	}
}

func (p *planner) validRole(at string, m *v1alpha1.PodTemplateMetadata) {
	if m == nil {
		return
	}
	if _, is := m.Labels[v1alpha1.LabelPodTemplateHash]; is {
		p.invalid(at+".labels", "sets %s, which tells revisions apart; remove it", v1alpha1.LabelPodTemplateHash)
	}
	if p.ro.Spec.Selector == nil {
		return
	}
	for k, v := range p.ro.Spec.Selector.MatchLabels {
		if other, is := m.Labels[k]; is && other != v {
			p.invalid(at+".labels", "sets %s=%s, but spec.selector selects %s=%s; use another label", k, other, k, v)
		}
	}
}

func (p *planner) validAntiAffinity(at string, a *v1alpha1.AntiAffinity) {
	if a == nil {
		return
	}
	preferred, required := a.PreferredDuringSchedulingIgnoredDuringExecution, a.RequiredDuringSchedulingIgnoredDuringExecution
	switch {
	case (preferred == nil) == (required == nil):
		p.invalid(at, "must set exactly one of preferredDuringSchedulingIgnoredDuringExecution and requiredDuringSchedulingIgnoredDuringExecution")
	case preferred != nil && (preferred.Weight < 1 || preferred.Weight > 100):
		p.invalid(at+".preferredDuringSchedulingIgnoredDuringExecution.weight", "%d is not between 1 and 100", preferred.Weight)
	}
}
