package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// shape is what each Rollout of a fleet looks like.
type shape struct {
	replicas int
	// routed Rollouts have Services and an HTTPRoute of their own.
	routed bool
	steps  string
	// router is another router than the Gateway API's, as "name: {block}".
	router string
	// broken ones have a pod template that no ReplicaSet can have: every attempt
	// to create it fails.
	broken bool
}

// measured is the update that Argo Rollouts was measured with.
const measured = "[{setWeight: 20}, {pause: {duration: 1s}}, {setWeight: 50}, {pause: {duration: 1s}}]"

// fleet is many Rollouts in one namespace, and when each became what.
type fleet struct {
	b          *testing.B
	ctx        context.Context
	controller *stage.Controller
	namespace  string
	shape      shape
	size       int

	mu      sync.Mutex
	version string
	started time.Time
	// done is when each Rollout served the version, still when its old pods
	// were gone as well.
	done, still map[string]time.Duration
	changed     chan struct{}
	// look is shown every state of every Rollout; nil is nobody.
	look func(*v1alpha1.Rollout)
}

var fleets int

func newFleet(b *testing.B, c *stage.Controller, size int, s shape) *fleet {
	b.Helper()
	fleets++
	f := &fleet{b: b, ctx: b.Context(), controller: c, namespace: fmt.Sprintf("fleet-%d", fleets), shape: s, size: size, changed: make(chan struct{}, 1)}
	f.begin("v1")
	require.NoError(b, on.Client.Create(f.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}))
	f.watch()
	return f
}

// begin starts the clock for a version.
func (f *fleet) begin(version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version, f.started = version, time.Now()
	f.done, f.still = map[string]time.Duration{}, map[string]time.Duration{}
}

func (f *fleet) watch() {
	dyn, err := dynamic.NewForConfig(on.Cluster.Config())
	require.NoError(f.b, err)
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dyn, 0, f.namespace, nil)
	_, err = factory.ForResource(v1alpha1.GroupVersion.WithResource("rollouts")).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: f.see, UpdateFunc: func(_, obj any) { f.see(obj) },
	})
	require.NoError(f.b, err)
	stop := make(chan struct{})
	f.b.Cleanup(func() {
		close(stop)
		factory.Shutdown()
	})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
}

func (f *fleet) see(obj any) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	var ro v1alpha1.Rollout
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &ro) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.look != nil {
		f.look(&ro)
	}
	st := ro.Status
	if ro.Labels["version"] != f.version || st.ObservedGeneration != fmt.Sprint(ro.Generation) ||
		st.Phase != v1alpha1.RolloutPhaseHealthy || st.StableRS != st.CurrentPodHash {
		return
	}
	now := time.Since(f.started)
	if _, ok := f.done[ro.Name]; !ok {
		f.done[ro.Name] = now
	}
	if _, ok := f.still[ro.Name]; !ok && int(st.Replicas) == f.shape.replicas {
		f.still[ro.Name] = now
	}
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// create creates the whole fleet, many at a time.
func (f *fleet) create() {
	f.b.Helper()
	f.begin("v1")
	f.each(func(name string) error {
		return on.Cluster.ApplyObjects(f.ctx, f.objects(name)...)
	})
}

// remove deletes the Rollouts.
func (f *fleet) remove() {
	f.b.Helper()
	f.each(func(name string) error {
		return on.Client.Delete(f.ctx, &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}})
	})
}

func (f *fleet) each(do func(name string) error) {
	f.b.Helper()
	var all errgroup.Group
	all.SetLimit(16)
	for i := range f.size {
		all.Go(func() error { return do(fmt.Sprintf("app-%d", i)) })
	}
	require.NoError(f.b, all.Wait())
}

// update gives every Rollout another version at once.
func (f *fleet) update(version string) {
	f.b.Helper()
	f.begin(version)
	patch := []byte(`{"metadata": {"labels": {"version": "` + version + `"}}, "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:` + version + `"}]}}}}`)
	f.each(func(name string) error {
		ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}}
		return on.Client.Patch(f.ctx, ro, client.RawPatch(types.MergePatchType, patch))
	})
}

// await waits until every Rollout serves the version and its old pods are gone,
// and returns when each did the first, in order.
func (f *fleet) await(limit time.Duration) []time.Duration {
	f.b.Helper()
	over := time.After(limit)
	for {
		f.mu.Lock()
		done, still := len(f.done), len(f.still)
		f.mu.Unlock()
		if still == f.size {
			return f.times()
		}
		select {
		case <-f.changed:
		case <-over:
			f.b.Fatalf("after %s %d of %d rollouts serve %s, and %d have only its pods\n%s", limit, done, f.size, f.version, still, f.controller.LogTail(10))
		}
	}
}

func (f *fleet) times() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]time.Duration, 0, len(f.done))
	for _, took := range f.done {
		out = append(out, took)
	}
	return out
}

// reasons are those of the events about a Rollout, in the order they happened;
// one that was counted up is there once.
func (f *fleet) reasons(name string) []string {
	f.b.Helper()
	var all corev1.EventList
	require.NoError(f.b, on.Client.List(f.ctx, &all, client.InNamespace(f.namespace)))
	// The name ends with the time of the first, in nanoseconds.
	slices.SortFunc(all.Items, func(a, b corev1.Event) int { return cmp.Compare(a.Name, b.Name) })
	var out []string
	for _, e := range all.Items {
		if e.InvolvedObject.Kind == "Rollout" && e.InvolvedObject.Name == name {
			out = append(out, e.Reason)
		}
	}
	return out
}

// objects of one member.
func (f *fleet) objects(name string) []*unstructured.Unstructured {
	strategy := "steps: " + f.shape.steps
	var manifests []string
	if f.shape.routed {
		strategy = fmt.Sprintf(`stableService: %[1]s-stable
      canaryService: %[1]s-canary
      scaleDownDelaySeconds: 5
      trafficRouting: {plugins: {%[2]s}}
      `, name, cmp.Or(f.shape.router, "argoproj-labs/gatewayAPI: {httpRoute: "+name+"}")) + strategy
		for _, role := range []string{"stable", "canary"} {
			manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s-%s}, spec: {selector: {app: %[1]s}, ports: [{port: 80}]}}`, name, role))
		}
		manifests = append(manifests, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: gateway, namespace: gateways}]
  rules: [{backendRefs: [{name: %[1]s-stable, port: 80, weight: 100}, {name: %[1]s-canary, port: 80, weight: 0}]}]
`, name))
	}
	container := "app"
	if f.shape.broken {
		container = "no_such_name"
	}
	manifests = append(manifests, fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: %[1]s
  labels: {version: v1, %[5]s: %[6]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: %[4]s, image: "example.com/app:v1"}]}
  strategy:
    canary:
      %[3]s
`, name, f.shape.replicas, strategy, container, v1alpha1.LabelInstanceID, f.controller.Instance))
	var out []*unstructured.Unstructured
	for _, m := range manifests {
		u := &unstructured.Unstructured{}
		require.NoError(f.b, yaml.Unmarshal([]byte(m), &u.Object))
		u.SetNamespace(f.namespace)
		out = append(out, u)
	}
	return out
}
