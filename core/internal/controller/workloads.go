package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// workloadIndex finds the Rollouts that refer to a workload.
const workloadIndex = "sluice.workload"

// listing is how long the first listing of a kind may take before the Rollouts
// that wait for it say so.
const listing = 10 * time.Second

// Workloads reads the Deployments, ReplicaSets and PodTemplates that Rollouts
// refer to. It has a cache of its own: that of the manager holds only
// ReplicaSets with our label, and no Deployments at all. A kind is listed and
// watched from the first Rollout on that refers to it.
type Workloads struct {
	cache crcache.Cache
	ring  func(client.ObjectKey)
	users client.Reader

	mu    sync.Mutex
	kinds map[string]*watchedKind
}

type watchedKind struct {
	informer crcache.Informer
	since    time.Time
}

// newWorkloads adds the cache to the manager; ring asks for a pass over a
// Rollout.
func newWorkloads(o Options, mgr ctrl.Manager, ring func(client.ObjectKey)) (*Workloads, error) {
	opts := crcache.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(), DefaultTransform: onlySpec}
	if o.Namespaced {
		opts.DefaultNamespaces = map[string]crcache.Config{o.Namespace: {}}
	}
	cache, err := crcache.New(mgr.GetConfig(), opts)
	if err != nil {
		return nil, fmt.Errorf("cache of referenced workloads: %w", err)
	}
	w := &Workloads{cache: cache, ring: ring, users: mgr.GetCache(), kinds: map[string]*watchedKind{}}
	return w, mgr.Add(cache)
}

// onlySpec drops what nobody asks of a workload.
func onlySpec(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		o.SetManagedFields(nil)
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Status = appsv1.DeploymentStatus{}
	case *appsv1.ReplicaSet:
		o.Status = appsv1.ReplicaSetStatus{}
	}
	return obj, nil
}

// Get implements observe.Workloads.
func (w *Workloads) Get(ctx context.Context, namespace string, ref v1alpha1.ObjectRef) (client.Object, *rollout.Problem, error) {
	kind, err := rollout.WorkloadKind(ref)
	if err != nil {
		return nil, &rollout.Problem{Class: rollout.ProblemInvalid, Message: err.Error()}, nil
	}
	obj := workloadOf(kind)
	known, err := w.watch(ctx, kind, obj)
	if err != nil {
		return nil, nil, err
	}
	if !known.informer.HasSynced() {
		return nil, unlisted(kind, time.Since(known.since)), nil
	}
	err = w.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, obj)
	if apierrors.IsNotFound(err) {
		return nil, &rollout.Problem{Class: rollout.ProblemInvalid, Message: fmt.Sprintf(
			"%s %q does not exist in namespace %q; create it or correct the name", kind, ref.Name, namespace)}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get %s %s/%s: %w", kind, namespace, ref.Name, err)
	}
	return obj, nil, nil
}

// unlisted: a first listing takes a moment; one that does not end is refused.
func unlisted(kind string, waited time.Duration) *rollout.Problem {
	if waited < listing {
		return &rollout.Problem{Class: rollout.ProblemWaiting, Message: "they are being listed", Retry: 200 * time.Millisecond}
	}
	return &rollout.Problem{Class: rollout.ProblemRefused, Retry: 10 * time.Second, Message: fmt.Sprintf(
		"listing every %s takes more than %s; look whether the ClusterRole of the controller allows to list and watch them", kind, listing)}
}

func workloadOf(kind string) client.Object {
	switch kind {
	case "ReplicaSet":
		return &appsv1.ReplicaSet{}
	case "PodTemplate":
		return &corev1.PodTemplate{}
	}
	return &appsv1.Deployment{}
}

// watch starts the informer of the kind once. It never waits for its listing:
// that may be forbidden, and a worker that waits serves nobody.
func (w *Workloads) watch(ctx context.Context, kind string, obj client.Object) (*watchedKind, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.kinds[kind]; k != nil {
		return k, nil
	}
	informer, err := w.cache.GetInformer(ctx, obj, crcache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", kind, err)
	}
	changed := func(obj any) {
		if tomb, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = tomb.Obj
		}
		if o, ok := obj.(client.Object); ok {
			w.told(kind, o)
		}
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: changed,
		UpdateFunc: func(old, now any) {
			before, ok := old.(client.Object)
			// Its status and marks are none of a Rollout's business.
			if after, is := now.(client.Object); ok && is && before.GetGeneration() == after.GetGeneration() && before.GetUID() == after.GetUID() {
				return
			}
			changed(now)
		},
		DeleteFunc: changed,
	}); err != nil {
		return nil, fmt.Errorf("watch %s: %w", kind, err)
	}
	w.kinds[kind] = &watchedKind{informer: informer, since: time.Now()}
	return w.kinds[kind], nil
}

// told asks for a pass over every Rollout that refers to the object.
func (w *Workloads) told(kind string, o client.Object) {
	var list v1alpha1.RolloutList
	if err := w.users.List(context.Background(), &list, client.InNamespace(o.GetNamespace()),
		client.MatchingFields{workloadIndex: kind + "/" + o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		return // stopping
	}
	for i := range list.Items {
		w.ring(client.ObjectKeyFromObject(&list.Items[i]))
	}
}

// workloadKeys is the index function of workloadIndex.
func workloadKeys(o client.Object) []string {
	ro, ok := o.(*v1alpha1.Rollout)
	if !ok || ro.Spec.WorkloadRef == nil {
		return nil
	}
	return []string{ro.Spec.WorkloadRef.Kind + "/" + ro.Spec.WorkloadRef.Name}
}

var _ observe.Workloads = (*Workloads)(nil)
