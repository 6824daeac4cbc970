package decide

import (
	"encoding/json"
	"slices"
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
		p.canary, p.bg = p.formerCanary(), p.ro.Spec.Strategy.BlueGreen
	}
	p.roles()
	p.plan.CollisionCount = p.ro.Status.CollisionCount
	hashes := p.s.Hashes
	if hashes == (rollout.Hashes{}) {
		hashes = rollout.HashesOf(p.ro)
	}
	p.plan.Hash = p.templateHash(hashes.Template)
	p.plan.StepHash = hashes.Steps
	p.plan.StepRun = p.ro.Status.Canary.CurrentStepAnalysisRunStatus.DeepCopy()
	p.plan.BackgroundRun = p.ro.Status.Canary.CurrentBackgroundAnalysisRunStatus.DeepCopy()
	p.plan.Experiment = p.ro.Status.Canary.CurrentExperiment
	p.plan.StepPlugins = slices.Clone(p.ro.Status.Canary.StepPluginStatuses)
	p.plan.PreRun = p.ro.Status.BlueGreen.PrePromotionAnalysisRunStatus.DeepCopy()
	p.plan.PostRun = p.ro.Status.BlueGreen.PostPromotionAnalysisRunStatus.DeepCopy()
	p.plan.Weights = p.ro.Status.Canary.Weights.DeepCopy()
	p.stable = p.ro.Status.StableRS
	p.work(p.plan.Hash)
}

// formerCanary is what is left of a canary strategy that the spec has replaced:
// the Services its routers still send traffic to, until they are released.
func (p *planner) formerCanary() *v1alpha1.CanaryStrategy {
	for _, r := range p.ro.Status.Canary.Routers {
		if w := r.Intended; w != nil {
			return &v1alpha1.CanaryStrategy{StableService: w.Stable.ServiceName, CanaryService: w.Canary.ServiceName}
		}
	}
	return &v1alpha1.CanaryStrategy{}
}

// takeBack makes an abort work with the Services that traffic was routed to,
// not with those that an edit since then names. What is wrong with the edit is
// reported by now.
func (p *planner) takeBack() {
	stable, canary, ok := rollout.Routed(p.ro)
	if !ok || stable == p.canary.StableService && canary == p.canary.CanaryService {
		return
	}
	c := *p.canary
	c.StableService, c.CanaryService = stable, canary
	p.canary = &c
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

// templateHash is the revision of the wanted template, whose hash this is. A ReplicaSet with an equal
// template keeps its own hash: hashes depend on the JSON of the Kubernetes
// libraries that computed them, and an upgrade must not restart every pod.
func (p *planner) templateHash(hash string) string {
	if p.s.ByHash(hash) != nil {
		return hash
	}
	var newest *appsv1.ReplicaSet
	for _, rs := range p.s.ReplicaSets {
		if metav1.IsControlledBy(rs, p.ro) && sameTemplate(rollout.Undressed(rs), p.ro.Spec.Template) &&
			(newest == nil || revision(rs) > revision(newest)) {
			newest = rs
		}
	}
	if newest != nil {
		return rollout.Hash(newest)
	}
	return hash
}

// sameTemplate compares a template without what we put into it after a JSON
// round trip of both, so that nil and empty are the same. The API server fills defaults in a
// stored ReplicaSet; anything else that only the stored one says was removed by
// the user, and is another revision.
func sameTemplate(stored, wanted corev1.PodTemplateSpec) bool {
	if !apiequality.Semantic.DeepEqual(stored.Labels, wanted.Labels) ||
		!apiequality.Semantic.DeepEqual(stored.Annotations, wanted.Annotations) ||
		len(stored.Spec.Containers) != len(wanted.Spec.Containers) ||
		len(stored.Spec.InitContainers) != len(wanted.Spec.InitContainers) {
		return false
	}
	var have, want any
	return decodeJSON(stored.Spec, &have) && decodeJSON(wanted.Spec, &want) && covers(have, want)
}

func decodeJSON(in any, out *any) bool {
	raw, err := json.Marshal(in)
	return err == nil && json.Unmarshal(raw, out) == nil
}

// covers reports whether have says what want says, and besides that nothing but
// the defaults of the API.
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
		for k, v := range h {
			if _, said := w[k]; !said && !isDefault(k, v, w) {
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

// isDefault reports whether the API server fills this value in where a pod
// template leaves it out (k8s.io/kubernetes/pkg/apis/core/v1/defaults.go). A
// value that is not listed counts as the user's: the worst that follows is one
// rolling update after an upgrade of the Kubernetes libraries.
func isDefault(key string, value any, beside map[string]any) bool {
	if key == "serviceAccount" { // the deprecated twin
		return value == beside["serviceAccountName"]
	}
	for _, d := range templateDefaults[key] {
		if apiequality.Semantic.DeepEqual(value, d) {
			return true
		}
	}
	return false
}

// templateDefaults by field name; numbers as JSON decodes them.
var templateDefaults = map[string][]any{
	"restartPolicy":                 {"Always"},
	"dnsPolicy":                     {"ClusterFirst"},
	"schedulerName":                 {"default-scheduler"},
	"terminationGracePeriodSeconds": {30.0},
	"securityContext":               {map[string]any{}},
	"resources":                     {map[string]any{}},
	"terminationMessagePath":        {"/dev/termination-log"},
	"terminationMessagePolicy":      {"File"},
	"imagePullPolicy":               {"Always", "IfNotPresent"},
	"protocol":                      {"TCP"},
	"successThreshold":              {1.0},
	"failureThreshold":              {3.0},
	"periodSeconds":                 {10.0},
	"timeoutSeconds":                {1.0},
	"scheme":                        {"HTTP"},
	"defaultMode":                   {420.0},
	"apiVersion":                    {"v1"},
	"creationTimestamp":             {nil},
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
