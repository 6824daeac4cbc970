package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/demo/internal/measure"
)

// Resources that a Feed watches.
var (
	Rollouts     = v1alpha1.GroupVersion.WithResource("rollouts")
	AnalysisRuns = v1alpha1.GroupVersion.WithResource("analysisruns")
	ReplicaSets  = appsv1.SchemeGroupVersion.WithResource("replicasets")
	HTTPRoutes   = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
)

// Config says what to follow.
type Config struct {
	Client    dynamic.Interface
	Namespace string
	// Rollout and Route are the names of the Rollout and of its HTTPRoute.
	Rollout, Route string
	// StableService and CanaryService are the route's backends.
	StableService, CanaryService string
	// Clock says how long the demo has been running.
	Clock func() time.Duration
}

// Feed is what was seen so far. Its methods may be called from several
// goroutines.
type Feed struct {
	cfg Config

	mu      sync.Mutex
	rollout *v1alpha1.Rollout
	route   Route
	sets    map[string]*appsv1.ReplicaSet
	runs    map[string]*v1alpha1.AnalysisRun
	last    traffic
	splits  []measure.Split
	changed chan struct{}
	err     error
}

// New returns a feed that has not seen anything.
func New(cfg Config) *Feed {
	return &Feed{
		cfg:  cfg,
		sets: map[string]*appsv1.ReplicaSet{}, runs: map[string]*v1alpha1.AnalysisRun{},
		changed: make(chan struct{}),
	}
}

// Start begins to follow and returns when all that exists was seen. It goes on
// until ctx ends.
func (f *Feed) Start(ctx context.Context) error {
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(f.cfg.Client, 0, f.cfg.Namespace, nil)
	var synced []cache.InformerSynced
	for _, resource := range []schema.GroupVersionResource{Rollouts, HTTPRoutes, ReplicaSets, AnalysisRuns} {
		registration, err := factory.ForResource(resource).Informer().AddEventHandler(f.handler(resource))
		if err != nil {
			return err
		}
		synced = append(synced, registration.HasSynced)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return context.Cause(ctx)
	}
	return nil
}

func (f *Feed) handler(resource schema.GroupVersionResource) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.see(resource, o.(*unstructured.Unstructured)) },
		UpdateFunc: func(_, o any) { f.see(resource, o.(*unstructured.Unstructured)) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			f.miss(resource, o.(*unstructured.Unstructured).GetName())
		},
	}
}

// see takes over an object.
func (f *Feed) see(resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	at := f.cfg.Clock()
	data, err := object.MarshalJSON()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = f.take(resource, object.GetName(), data)
	}
	if err != nil {
		// Whoever waits next is told.
		f.err = errors.Join(f.err, fmt.Errorf("reading %s %s: %w", resource.Resource, object.GetName(), err))
	}
	f.note(at)
}

func (f *Feed) take(resource schema.GroupVersionResource, name string, data []byte) (err error) {
	switch resource {
	case Rollouts:
		if name == f.cfg.Rollout {
			f.rollout = &v1alpha1.Rollout{}
			err = json.Unmarshal(data, f.rollout)
		}
	case HTTPRoutes:
		if name == f.cfg.Route {
			f.route, err = routeWeights(data, f.cfg.StableService, f.cfg.CanaryService)
		}
	case ReplicaSets:
		f.sets[name] = &appsv1.ReplicaSet{}
		err = json.Unmarshal(data, f.sets[name])
	case AnalysisRuns:
		f.runs[name] = &v1alpha1.AnalysisRun{}
		err = json.Unmarshal(data, f.runs[name])
	}
	return err
}

// miss forgets a deleted object.
func (f *Feed) miss(resource schema.GroupVersionResource, name string) {
	at := f.cfg.Clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch resource {
	case Rollouts:
		if name == f.cfg.Rollout {
			f.rollout = nil
		}
	case HTTPRoutes:
		if name == f.cfg.Route {
			f.route = Route{}
		}
	case ReplicaSets:
		delete(f.sets, name)
	case AnalysisRuns:
		delete(f.runs, name)
	}
	f.note(at)
}

// note records a new split if the traffic changed, and wakes those who wait.
func (f *Feed) note(at time.Duration) {
	if now, ok := f.state().traffic(); ok && now != f.last {
		f.last = now
		split := now.split()
		split.At = at
		f.splits = append(f.splits, split)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) state() State {
	return State{Rollout: f.rollout, Route: f.route, Sets: oldestFirst(f.sets), Runs: oldestFirst(f.runs)}
}

// Now returns the current state.
func (f *Feed) Now() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state()
}

// Splits returns what the gateway was asked for so far. The caller must not
// change it.
func (f *Feed) Splits() []measure.Split {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.splits[:len(f.splits):len(f.splits)]
}

// Changed is closed at the next change.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Await waits for a state and returns it.
func (f *Feed) Await(ctx context.Context, what string, reached func(State) bool) (State, error) {
	for {
		f.mu.Lock()
		state, changed, err := f.state(), f.changed, f.err
		f.mu.Unlock()
		if err != nil {
			return state, err
		}
		if reached(state) {
			return state, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}
