package experiment

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Snapshot is everything Decide may know about one Experiment at one moment.
// Its objects are shared with caches: nobody modifies them.
type Snapshot struct {
	Now        time.Time
	Experiment *v1alpha1.Experiment
	// Parent is the Rollout that controls the Experiment; nil for one that a
	// person created, and when the Rollout is gone.
	Parent *v1alpha1.Rollout
	// ReplicaSets, Services and AnalysisRuns that the Experiment controls.
	ReplicaSets  []*appsv1.ReplicaSet
	Services     []*corev1.Service
	AnalysisRuns []*v1alpha1.AnalysisRun
	// Templates and ClusterTemplates that the analyses name, with everything
	// they nest; absent means it does not exist.
	Templates        map[string]*v1alpha1.AnalysisTemplate
	ClusterTemplates map[string]*v1alpha1.ClusterAnalysisTemplate
	// Taken are the pod template hashes of the namespace's other ReplicaSets.
	Taken map[string]bool
}

// routed reports whether the Rollout has traffic on the revision, or has asked
// a router for it: pods that serve are not taken away.
func (s *Snapshot) routed(hash string) bool {
	if s.Parent == nil || hash == "" {
		return false
	}
	found := false
	carried(s.Parent, func(d v1alpha1.WeightDestination) { found = found || d.PodTemplateHash == hash })
	return found
}

// carried visits the destinations of experiments that have, or may have, some
// of a Rollout's traffic.
func carried(ro *v1alpha1.Rollout, visit func(v1alpha1.WeightDestination)) {
	splits := []*v1alpha1.TrafficWeights{ro.Status.Canary.Weights}
	for i := range ro.Status.Canary.Routers {
		splits = append(splits, ro.Status.Canary.Routers[i].Intended)
	}
	for _, split := range splits {
		if split == nil {
			continue
		}
		for _, d := range split.Additional {
			if d.Weight > 0 {
				visit(d)
			}
		}
	}
}

// Carries sums up which experiments have some of a Rollout's traffic: it is the
// same for two Rollouts that no experiment need tell apart.
func Carries(ro *v1alpha1.Rollout) string {
	var hashes []string
	carried(ro, func(d v1alpha1.WeightDestination) { hashes = append(hashes, d.PodTemplateHash) })
	slices.Sort(hashes)
	return strings.Join(slices.Compact(hashes), ",")
}

func (s *Snapshot) run(name string) *v1alpha1.AnalysisRun {
	for _, run := range s.AnalysisRuns {
		if run.Name == name {
			return run
		}
	}
	return nil
}
