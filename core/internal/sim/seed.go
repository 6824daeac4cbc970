package sim

import (
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Seed is the state of a cluster as its API shows it at one moment. A World
// that begins with it goes on from there.
type Seed struct {
	Now         time.Time
	Rollout     *v1alpha1.Rollout
	ReplicaSets []*appsv1.ReplicaSet
	// Taken are ReplicaSets of others: their names are taken.
	Taken    []*appsv1.ReplicaSet
	Services []*corev1.Service
	// Owners names, by Service, other Rollouts that manage it.
	Owners           map[string]string
	Templates        []*v1alpha1.AnalysisTemplate
	ClusterTemplates []*v1alpha1.ClusterAnalysisTemplate
	AnalysisRuns     []*v1alpha1.AnalysisRun
	Experiments      []*v1alpha1.Experiment
	// Deployment is what spec.workloadRef names; nil without one.
	Deployment *appsv1.Deployment
	Pods       []Pod
	// Routes are what the routers write.
	Routes []*Route
}

// Pod is a pod as its API object shows it.
type Pod struct {
	Name, ReplicaSet string
	Created          time.Time
	// Started is when its containers were started last.
	Started             time.Time
	Available           bool
	Labels, Annotations map[string]string
}

// Continue is a World that begins with the seed; prepare, which may be nil, is
// called before anything happens in it, to say what is broken and which plugins
// there are. What runs in it is judged by
// the invariants of each plan, not by the oracles: those have to see a rollout
// from its beginning.
func Continue(o Options, seed Seed, prepare func(*World)) *World {
	o.unjudged = true
	w := New(o)
	w.now, w.begin, w.clusterTemplates = seed.Now, seed.Now, seed.ClusterTemplates
	put := func(k kind, obj object) {
		stored := asStored(obj.DeepCopyObject().(object))
		version, err := strconv.ParseInt(stored.GetResourceVersion(), 10, 64)
		if err != nil {
			version = 1
			stored.SetResourceVersion("1")
		}
		if stored.GetUID() == "" { // from a file
			stored.SetUID(types.UID(fmt.Sprintf("%s-%s", k, obj.GetName())))
		}
		w.store.version = max(w.store.version, version)
		w.store.live[key{k, obj.GetName()}] = stored
	}
	each(seed.ReplicaSets, func(o *appsv1.ReplicaSet) {
		put(kindReplicaSet, o)
		w.journal.alias[rollout.Hash(o)] = image(o.Spec.Template)
	})
	each(seed.Taken, func(o *appsv1.ReplicaSet) { put(kindReplicaSet, o) })
	each(seed.Services, func(o *corev1.Service) { put(kindService, o) })
	each(seed.Templates, func(o *v1alpha1.AnalysisTemplate) { put(kindTemplate, o) })
	each(seed.AnalysisRuns, func(o *v1alpha1.AnalysisRun) { put(kindAnalysisRun, o) })
	each(seed.Experiments, func(o *v1alpha1.Experiment) { put(kindExperiment, o) })
	each(seed.Routes, func(o *Route) { put(kindRoute, o) })
	if seed.Deployment != nil {
		put(kindDeployment, seed.Deployment)
	}
	if seed.Rollout != nil {
		put(kindRollout, seed.Rollout)
		w.journal.status = statusLine(w.Rollout())
	}
	for _, owner := range seed.Owners {
		w.rivals[owner] = true
	}
	w.cache = newCache(w.store)
	if prepare != nil {
		prepare(w)
	}
	w.goOn(seed)
	w.queued = true
	return w
}

func each[T any](all []T, do func(T)) {
	for _, o := range all {
		do(o)
	}
}

// goOn lets everything that was under way end when it would have: pods from
// their start, runs and experiments from their creation. When a data plane
// began to take a route is not visible; it begins anew.
func (w *World) goOn(seed Seed) {
	for _, p := range seed.Pods {
		rs := find[*appsv1.ReplicaSet](w.store.live, kindReplicaSet, p.ReplicaSet)
		if rs == nil {
			continue
		}
		have := pod{name: p.Name, created: p.Created, from: p.Started, labels: p.Labels, annotations: p.Annotations}
		if !p.Available {
			have.from = p.Started.Add(w.StartUp + time.Duration(rs.Spec.MinReadySeconds)*time.Second)
			have.broken = w.Broken[image(rs.Spec.Template)]
			if !have.from.After(w.now) && !have.broken {
				have.from = w.now.Add(w.StartUp) // it should have started by now: it is given as long again
			}
			w.after(max(0, have.from.Sub(w.now)), func() { w.syncPods(rs.Name) })
		}
		w.pods[rs.Name] = append(w.pods[rs.Name], have)
	}
	each(seed.ReplicaSets, w.replicaSetChanged)
	for _, run := range list[*v1alpha1.AnalysisRun](w.store.live, kindAnalysisRun) {
		w.goOnRun(run)
	}
	for _, ex := range list[*v1alpha1.Experiment](w.store.live, kindExperiment) {
		w.goOnExperiment(ex)
	}
	for _, r := range list[*Route](w.store.live, kindRoute) {
		w.served[r.Name], w.servedGeneration[r.Name] = clonePlaces(r.Places), r.Programmed
		if r.Programmed < r.Generation && w.Plugins[r.Plugin] != nil {
			w.program(r)
		}
	}
}

func (w *World) goOnRun(run *v1alpha1.AnalysisRun) {
	name := run.Name
	switch {
	case run.Status.Phase.Completed():
	case run.Spec.Terminate:
		w.after(w.Latency, func() { w.finish(name, v1alpha1.AnalysisPhaseSuccessful, "Run Terminated") })
	default:
		verdict := w.Verdict(run)
		w.after(w.Latency, func() { w.finish(name, v1alpha1.AnalysisPhaseRunning, "") })
		w.after(max(w.Latency, w.left(run.CreationTimestamp.Time, verdict.After)), func() { w.finish(name, verdict.Phase, verdict.Message) })
	}
}

func (w *World) goOnExperiment(ex *v1alpha1.Experiment) {
	name := ex.Name
	switch {
	case ex.Status.Phase.Completed():
	case ex.Spec.Terminate:
		w.after(w.Latency, func() { w.experimentIs(name, v1alpha1.AnalysisPhaseSuccessful, "Experiment terminated") })
	default:
		verdict := w.Experiment(ex)
		if ex.Status.Phase != v1alpha1.AnalysisPhaseRunning {
			w.after(w.Latency+w.StartUp, func() { w.experimentIs(name, v1alpha1.AnalysisPhaseRunning, "") })
		}
		w.after(max(w.Latency, w.left(ex.CreationTimestamp.Time, w.Latency+w.StartUp+verdict.After)), func() { w.experimentIs(name, verdict.Phase, verdict.Message) })
	}
}

// left is what is left of a time that began then.
func (w *World) left(since time.Time, d time.Duration) time.Duration { return since.Add(d).Sub(w.now) }

// Live is what the API of this World shows now.
func (w *World) Live() Seed {
	live := w.store.live
	s := Seed{Now: w.now, Rollout: w.Rollout(), Owners: map[string]string{},
		ReplicaSets: list[*appsv1.ReplicaSet](live, kindReplicaSet), Services: list[*corev1.Service](live, kindService),
		Templates: list[*v1alpha1.AnalysisTemplate](live, kindTemplate), AnalysisRuns: list[*v1alpha1.AnalysisRun](live, kindAnalysisRun),
		Experiments: list[*v1alpha1.Experiment](live, kindExperiment), Routes: list[*Route](live, kindRoute)}
	for _, d := range list[*appsv1.Deployment](live, kindDeployment) {
		s.Deployment = d
	}
	for _, svc := range s.Services {
		if owner := svc.Annotations[v1alpha1.AnnotationManagedBy]; w.rivals[owner] {
			s.Owners[svc.Name] = owner
		}
	}
	for _, name := range sortedKeys(w.pods) {
		rs := find[*appsv1.ReplicaSet](live, kindReplicaSet, name)
		if rs == nil {
			continue
		}
		for _, p := range w.pods[name] {
			s.Pods = append(s.Pods, Pod{Name: p.name, ReplicaSet: name, Created: p.created, Labels: p.labels, Annotations: p.annotations,
				Started: p.from.Add(-w.StartUp - time.Duration(rs.Spec.MinReadySeconds)*time.Second), Available: !p.broken && !p.from.After(w.now)})
		}
	}
	return s
}
