package stage

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Fact is something that became true, in the order of the API server: its
// resource versions count over all kinds.
type Fact struct {
	Version uint64
	// Seen is when the watch showed it.
	Seen time.Time
	What string
}

// Event is one event as it was emitted; a repeated one comes again.
type Event struct{ Reason, Message string }

// feed watches a namespace: its state now, and what happened so far.
type feed struct {
	mu      sync.Mutex
	world   World
	events  []Event
	facts   []Fact
	last    map[string]string // by subject: its newest fact
	counts  map[string]int32  // by event
	changed chan struct{}
}

var watched = []schema.GroupVersionResource{
	v1alpha1.GroupVersion.WithResource("rollouts"),
	v1alpha1.GroupVersion.WithResource("analysisruns"),
	v1alpha1.GroupVersion.WithResource("experiments"),
	appsv1.SchemeGroupVersion.WithResource("replicasets"),
	corev1.SchemeGroupVersion.WithResource("services"),
	corev1.SchemeGroupVersion.WithResource("events"),
	httpRoutes,
}

func (s *Stage) newFeed(t testing.TB, namespace string) *feed {
	t.Helper()
	f := &feed{
		world: World{Others: map[string]*v1alpha1.Rollout{}, Services: map[string]*corev1.Service{},
			Sets: map[string]*appsv1.ReplicaSet{}, Runs: map[string]*v1alpha1.AnalysisRun{},
			Experiments: map[string]*v1alpha1.Experiment{}},
		last: map[string]string{}, counts: map[string]int32{}, changed: make(chan struct{}),
	}
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(s.dynamic, 0, namespace, nil)
	stop := make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		factory.Shutdown()
	})
	for _, resource := range watched {
		_, err := factory.ForResource(resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { f.take(obj, false) },
			UpdateFunc: func(_, obj any) { f.take(obj, false) },
			DeleteFunc: func(obj any) { f.take(obj, true) },
		})
		require.NoError(t, err)
	}
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	return f
}

// take brings one change in.
func (f *feed) take(obj any, gone bool) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch u.GetKind() {
	case "Rollout":
		if u.GetName() == AppName {
			f.world.Rollout = v1alpha1.Rollout{}
			f.rollout(u, gone)
		} else {
			put(f.world.Others, u, gone)
		}
	case "HTTPRoute":
		if u.GetName() == AppName {
			f.world.Route = gatewayv1.HTTPRoute{}
			f.route(u, gone)
		}
	case "Service":
		put(f.world.Services, u, gone)
		if svc := f.world.Services[u.GetName()]; svc != nil {
			f.fact(svc, u.GetName(), "selects "+svc.Spec.Selector[v1alpha1.LabelPodTemplateHash])
		}
	case "ReplicaSet":
		put(f.world.Sets, u, gone)
		if rs := f.world.Sets[u.GetName()]; rs != nil && rs.Spec.Replicas != nil {
			f.fact(rs, u.GetName(), fmt.Sprintf("wants %d", *rs.Spec.Replicas))
		}
	case "AnalysisRun":
		put(f.world.Runs, u, gone)
		if run := f.world.Runs[u.GetName()]; run != nil {
			f.fact(run, u.GetName(), string(run.Status.Phase))
		}
	case "Experiment":
		put(f.world.Experiments, u, gone)
		if ex := f.world.Experiments[u.GetName()]; ex != nil {
			f.fact(ex, u.GetName(), string(ex.Status.Phase))
		}
	case "Event":
		f.event(u, gone)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) rollout(u *unstructured.Unstructured, gone bool) {
	if gone || decode(u, &f.world.Rollout) != nil {
		return
	}
	ro := &f.world.Rollout
	f.fact(ro, "phase", string(ro.Status.Phase))
	f.fact(ro, "step", strconv.Itoa(f.world.Step()))
	f.fact(ro, "stable", ro.Status.StableRS)
}

func (f *feed) route(u *unstructured.Unstructured, gone bool) {
	if gone || decode(u, &f.world.Route) != nil {
		return
	}
	f.fact(&f.world.Route, "weight", strconv.Itoa(f.world.Weight()))
}

// fact notes what is true of a subject, when it was not so before.
func (f *feed) fact(obj client.Object, subject, what string) {
	if f.last[subject] == what {
		return
	}
	f.last[subject] = what
	version, _ := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	f.facts = append(f.facts, Fact{version, time.Now(), subject + " " + what})
}

func (f *feed) event(u *unstructured.Unstructured, gone bool) {
	var e corev1.Event
	if gone || decode(u, &e) != nil || e.InvolvedObject.Kind != "Rollout" || e.InvolvedObject.Name != AppName {
		return
	}
	for ; f.counts[e.Name] < max(e.Count, 1); f.counts[e.Name]++ {
		f.events = append(f.events, Event{e.Reason, e.Message})
	}
}

// now is the state, and a channel that is closed when it changes.
func (f *feed) now() (World, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.world
	w.Experiments = maps.Clone(w.Experiments)
	w.Others, w.Services, w.Sets, w.Runs = maps.Clone(w.Others), maps.Clone(w.Services), maps.Clone(w.Sets), maps.Clone(w.Runs)
	return w, f.changed
}

func (f *feed) history() ([]Fact, []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	facts := slices.Clone(f.facts)
	slices.SortStableFunc(facts, func(a, b Fact) int { return int(int64(a.Version) - int64(b.Version)) })
	return facts, slices.Clone(f.events)
}
