package decide

import (
	"encoding/json"
	"sort"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// identify finds the revision that is wanted and the one that is stable.
func (p *planner) identify() {
	p.canary = p.ro.Spec.Strategy.Canary
	if p.canary == nil {
		p.canary = &v1alpha1.CanaryStrategy{}
	}
	p.plan.CollisionCount = p.ro.Status.CollisionCount
	p.plan.Hash = p.templateHash()
	p.plan.StepHash = rollout.StepsHash(p.ro)
	p.plan.StepRun = p.ro.Status.Canary.CurrentStepAnalysisRunStatus.DeepCopy()
	p.plan.BackgroundRun = p.ro.Status.Canary.CurrentBackgroundAnalysisRunStatus.DeepCopy()
	p.plan.Weights = p.ro.Status.Canary.Weights.DeepCopy()
	p.stable = p.ro.Status.StableRS
	p.work(p.plan.Hash)
}

// work makes hash the revision this pass works for.
func (p *planner) work(hash string) {
	p.hash = hash
	p.newRS = p.s.ByHash(hash)
	p.stableRS = p.s.ByHash(p.stable)
	p.others = nil
	for _, rs := range p.s.ReplicaSets {
		if rs != p.newRS && rs != p.stableRS {
			p.others = append(p.others, rs)
		}
	}
	sort.Slice(p.others, func(i, j int) bool { return older(p.others[j], p.others[i]) })
	p.index = 0
	if i := p.ro.Status.CurrentStepIndex; i != nil {
		p.index = int(min(max(*i, 0), int32(len(p.steps()))))
	}
	if len(p.steps()) == 0 {
		p.index = 0
	}
	p.plan.Revision = revision(p.newRS)
}

func older(a, b *appsv1.ReplicaSet) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// templateHash is the hash of the wanted template. A ReplicaSet with an equal
// template keeps its own hash: hashes depend on the JSON of the Kubernetes
// libraries that computed them, and an upgrade must not restart every pod.
func (p *planner) templateHash() string {
	hash := rollout.TemplateHash(p.ro.Spec.Template, p.ro.Status.CollisionCount)
	if p.s.ByHash(hash) != nil {
		return hash
	}
	for _, rs := range p.s.ReplicaSets {
		if metav1.IsControlledBy(rs, p.ro) && sameTemplate(rs.Spec.Template, p.ro.Spec.Template) {
			return rollout.Hash(rs)
		}
	}
	return hash
}

// sameTemplate compares without our own label, and after a JSON round trip of
// both so that nil and empty are the same. The API server fills defaults in a
// stored ReplicaSet, so only what the wanted template says is compared.
func sameTemplate(stored, wanted corev1.PodTemplateSpec) bool {
	stored = *stored.DeepCopy()
	delete(stored.Labels, v1alpha1.LabelPodTemplateHash)
	if !apiequality.Semantic.DeepEqual(stored.Labels, wanted.Labels) ||
		!apiequality.Semantic.DeepEqual(stored.Annotations, wanted.Annotations) ||
		len(stored.Spec.Containers) != len(wanted.Spec.Containers) ||
		len(stored.Spec.InitContainers) != len(wanted.Spec.InitContainers) {
		return false
	}
	var have, want any
	if !decodeJSON(stored.Spec, &have) || !decodeJSON(wanted.Spec, &want) {
		return false
	}
	return covers(have, want)
}

func decodeJSON(in any, out *any) bool {
	raw, err := json.Marshal(in)
	return err == nil && json.Unmarshal(raw, out) == nil
}

// covers reports whether have says everything that want says.
func covers(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			if !covers(h[k], v) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !covers(h[i], w[i]) {
				return false
			}
		}
		return true
	default:
		return apiequality.Semantic.DeepEqual(have, want)
	}
}

// revision of a ReplicaSet; 0 when it has none.
func revision(rs *appsv1.ReplicaSet) int {
	if rs == nil {
		return 0
	}
	n, err := strconv.Atoi(rs.Annotations[v1alpha1.AnnotationRevision])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// nextRevision is one more than that of every other ReplicaSet.
func (p *planner) nextRevision() int {
	highest := 0
	for _, rs := range p.s.ReplicaSets {
		if rs != p.newRS {
			highest = max(highest, revision(rs))
		}
	}
	return highest + 1
}
