package rollout

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Snapshot is everything decide may know about one Rollout at one moment. Its
// objects are shared with caches: nobody modifies them.
type Snapshot struct {
	Now     time.Time
	Rollout *v1alpha1.Rollout
	// Hashes of the Rollout; the zero value leaves it to decide to compute them.
	Hashes Hashes
	// Workload is what spec.workloadRef names; nil without one. Rollout carries
	// its template then, see Refer.
	Workload *Workload
	// Pods of the ReplicaSets, read only while spec.restartAt is due; nil
	// otherwise.
	Pods []Pod
	// ReplicaSets that carry our hash label and match the selector: owned by
	// this Rollout, or without a controller and therefore adoptable.
	ReplicaSets []*appsv1.ReplicaSet
	// Services named by the spec or by status; absent from the map means it
	// does not exist.
	Services map[string]*corev1.Service
	// Owners names, for each Service that another existing Rollout manages,
	// that Rollout. The mark of a Rollout that is gone counts for nothing.
	Owners map[string]string
	// AnalysisRuns owned by this Rollout.
	AnalysisRuns []*v1alpha1.AnalysisRun
	// Experiments owned by this Rollout.
	Experiments []*v1alpha1.Experiment
	// Templates and ClusterTemplates that the spec names, with everything they
	// nest; absent means it does not exist.
	Templates        map[string]*v1alpha1.AnalysisTemplate
	ClusterTemplates map[string]*v1alpha1.ClusterAnalysisTemplate
	// Routers in the order they are driven: those of the spec first, then the
	// releasing ones.
	Routers []Router
	// Providers says, for each metric provider the templates name, why it
	// cannot measure; an absent name is available.
	Providers map[string]Problem
	// StepPlugins says, for each plugin that a step names, why it cannot be
	// asked; an absent name can, or is switched off.
	StepPlugins map[string]Problem
	// StepChecks is what plugins say of the configuration of their steps.
	StepChecks StepChecks
	// StepObjectsChanged: the running step is asked again before it is due.
	StepObjectsChanged bool
}

// TotalWeight is the weight that stands for all traffic; where the strategy has
// no routers any more, what those that are being released were last asked for.
func (s *Snapshot) TotalWeight() int32 {
	if c := s.Rollout.Spec.Strategy.Canary; c != nil {
		return c.MaxTrafficWeightOrDefault()
	}
	for _, r := range s.Rollout.Status.Canary.Routers {
		if w := r.Intended; w != nil {
			return w.Canary.Weight + w.Stable.Weight
		}
	}
	return v1alpha1.DefaultMaxTrafficWeight
}

// Replicas is spec.replicas, 1 when unset. A negative one is nobody's wish: it is
// the count that was asked for before, as the stable ReplicaSet remembers it, or
// the new one where there is no other; 0 without any.
func (s *Snapshot) Replicas() int32 {
	n := s.Rollout.Spec.ReplicasOrDefault()
	if n >= 0 {
		return n
	}
	rs := s.ByHash(s.Rollout.Status.StableRS)
	if rs == nil {
		rs = s.ByHash(s.Rollout.Status.CurrentPodHash)
	}
	if rs == nil {
		return 0
	}
	if before, err := strconv.ParseInt(rs.Annotations[v1alpha1.AnnotationDesiredReplicas], 10, 32); err == nil && before >= 0 {
		return int32(before)
	}
	return SpecReplicas(rs)
}

// Hash of the ReplicaSet, "" for nil.
func Hash(rs *appsv1.ReplicaSet) string {
	if rs == nil {
		return ""
	}
	return rs.Labels[v1alpha1.LabelPodTemplateHash]
}

// SpecReplicas of the ReplicaSet; 0 for nil.
func SpecReplicas(rs *appsv1.ReplicaSet) int32 {
	if rs == nil {
		return 0
	}
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

// Available pods of the ReplicaSet; 0 for nil. Status lags behind: pods beyond
// the wanted number are going away, whatever it says.
func Available(rs *appsv1.ReplicaSet) int32 {
	if rs == nil {
		return 0
	}
	return min(rs.Status.AvailableReplicas, SpecReplicas(rs))
}

// Reported says whether the status of the ReplicaSet is about its spec as it is
// now. Until then its counts may be those of pods that are going away, and
// nothing may be raised on them.
func Reported(rs *appsv1.ReplicaSet) bool {
	return rs != nil && rs.Status.ObservedGeneration >= rs.Generation
}

// ByHash returns the ReplicaSet with that pod template hash, or nil.
func (s *Snapshot) ByHash(hash string) *appsv1.ReplicaSet {
	if hash == "" {
		return nil
	}
	for _, rs := range s.ReplicaSets {
		if Hash(rs) == hash {
			return rs
		}
	}
	return nil
}

// ServiceHash is the pod template hash in the selector of the named Service,
// "" when the Service does not exist or selects every revision.
func (s *Snapshot) ServiceHash(name string) string {
	svc := s.Services[name]
	if svc == nil {
		return ""
	}
	return svc.Spec.Selector[v1alpha1.LabelPodTemplateHash]
}

// TrafficKnown reports whether the traffic of every router is known. While it
// is not, nothing that traffic may point at is moved or lowered (I9).
func (s *Snapshot) TrafficKnown() bool {
	for _, r := range s.Routers {
		if !r.Known() {
			return false
		}
	}
	for i := range s.Rollout.Status.Canary.Routers {
		if s.unseen(&s.Rollout.Status.Canary.Routers[i]) {
			return false
		}
	}
	return true
}

// unseen reports that the router held something for which nobody was asked:
// its block has just been edited to name something else.
func (s *Snapshot) unseen(entry *v1alpha1.RouterStatus) bool {
	claimed := map[Claim]bool{}
	for _, r := range s.Routers {
		if r.Plugin != entry.Plugin {
			continue
		}
		if SameConfig(r.Config, entry.Config) {
			return false
		}
		for _, c := range r.Observation.Claims {
			claimed[c] = true
		}
	}
	for _, h := range entry.Holds {
		if !claimed[Claim{Object: h.Object, Key: h.Key}] {
			return true
		}
	}
	return false
}

// ServiceWeight is the largest weight any place of any router gives the
// Service now; a managed route that points at it counts as traffic even at
// weight 0 and is reported as at least 1.
func (s *Snapshot) ServiceWeight(name string) int64 {
	var most int64
	for _, r := range s.Routers {
		canary := s.canaryService(r)
		for _, at := range r.Observation.Observed {
			most = max(most, placeWeight(at, canary, func(d Destination) bool { return d.Service == name }))
		}
	}
	return most
}

// HashWeight is the largest weight any place gives the revision now, joining
// service → selector → ReplicaSet, or the hash the routed object itself names.
func (s *Snapshot) HashWeight(hash string) int64 {
	if hash == "" {
		return 0
	}
	var most int64
	for _, r := range s.Routers {
		canary := s.canaryService(r)
		for _, at := range r.Observation.Observed {
			most = max(most, placeWeight(at, canary, func(d Destination) bool { return s.DestinationHash(d) == hash }))
		}
	}
	return most
}

// DestinationHash is the revision a destination reaches: the hash it names,
// else the one its Service selects.
func (s *Snapshot) DestinationHash(d Destination) string {
	if d.Hash != "" {
		return d.Hash
	}
	return s.ServiceHash(d.Service)
}

// placeWeight sums what matches at one place. Managed routes send to the
// canary, whether it is listed with a weight of its own or not.
func placeWeight(at Observed, canary string, match func(Destination) bool) int64 {
	var sum int64
	managed := len(at.Traffic.Managed) > 0 && canary != "" && match(Destination{Role: RoleCanary, Service: canary})
	for _, d := range at.Traffic.Destinations {
		if !match(d) {
			continue
		}
		sum += int64(d.Weight)
		managed = managed || d.Role == RoleCanary && len(at.Traffic.Managed) > 0
	}
	if managed {
		return max(sum, 1)
	}
	return sum
}

// canaryService is the Service the managed routes of the router send to; "" where
// they send to a subset.
func (s *Snapshot) canaryService(r Router) string {
	if r.Subsets() {
		return ""
	}
	block := Block{Plugin: r.Plugin}
	if r.Releasing {
		for i := range s.Rollout.Status.Canary.Routers {
			if e := &s.Rollout.Status.Canary.Routers[i]; e.Plugin == r.Plugin && SameConfig(e.Config, r.Config) {
				block.Intended = Asked(*e)
			}
		}
	}
	return block.Target(s.Rollout).CanaryService
}
