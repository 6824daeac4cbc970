// Package observe fills a Snapshot: it reads caches and asks routers what they
// see, and has no effects.
package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// OwnerIndex is the field index over ReplicaSets and AnalysisRuns: the UID of
// the controlling owner, or Orphan.
const (
	OwnerIndex = "sluice.controllerUID"
	Orphan     = "orphan"
)

// Owner is the index function of OwnerIndex.
func Owner(obj client.Object) []string {
	if ref := metav1.GetControllerOf(obj); ref != nil {
		return []string{string(ref.UID)}
	}
	return []string{Orphan}
}

// ErrBehind says that a cache has not yet shown this process's own last write;
// deciding from it would decide twice. The watch event that is missing starts
// the next pass.
var ErrBehind = errors.New("the cache is behind this process's own last write")

// Routers observes the traffic routers of a Rollout without effects.
type Routers interface {
	ObserveAll(ctx context.Context, ro *v1alpha1.Rollout) []rollout.Router
}

// Providers tells whether a metric provider is installed, without starting it.
type Providers interface {
	Problem(provider v1alpha1.MetricProvider) (plugin string, problem *rollout.Problem)
}

// StepPlugins tells whether a step plugin is installed, without starting it. One
// that is switched off is no problem.
type StepPlugins interface {
	StepProblem(plugin string) *rollout.Problem
}

// StepChecks looks after the steps of plugins that are installed.
type StepChecks interface {
	// CheckSteps returns what the plugins say of the configuration of their
	// steps, or why they have not said anything.
	CheckSteps(ctx context.Context, ro *v1alpha1.Rollout) rollout.StepChecks
	// StepObjectsChanged reports that the running step has something new to see.
	StepObjectsChanged(ro *v1alpha1.Rollout) bool
}

// Observer builds snapshots.
type Observer struct {
	// Reader is a cache with OwnerIndex; objects are shared, not copied.
	Reader    client.Reader
	Routers   Routers
	Workloads Workloads
	// Live reads past every cache; only what no cache holds. Nil where nothing
	// is restarted.
	Live      client.Reader
	Providers Providers
	// StepPlugins is nil where there are none to be asked.
	StepPlugins StepPlugins
	// StepChecks is nil where steps are not checked.
	StepChecks StepChecks
	Written    *Written
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	hashes hashes
}

// Forget drops what is remembered of a Rollout that is gone.
func (o *Observer) Forget(key client.ObjectKey) { o.hashes.forget(key) }

// Snapshot reads everything decide may know about the Rollout. It returns
// ErrBehind when a cache must catch up first.
func (o *Observer) Snapshot(ctx context.Context, ro *v1alpha1.Rollout) (*rollout.Snapshot, error) {
	if o.Written.Behind("Rollout", ro) {
		return nil, ErrBehind
	}
	s := &rollout.Snapshot{Now: o.now(), Rollout: ro}
	if err := o.workload(ctx, s); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, *rollout.Snapshot) error{o.replicaSets, o.pods, o.services, o.analysisRuns, o.experiments, o.templates, o.stepPlugins} {
		if err := read(ctx, s); err != nil {
			return nil, err
		}
	}
	s.Hashes = o.hashes.get(s.Rollout)
	s.Routers = o.Routers.ObserveAll(ctx, s.Rollout)
	return s, nil
}

func (o *Observer) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// replicaSets lists what the Rollout owns and what it may adopt.
func (o *Observer) replicaSets(ctx context.Context, s *rollout.Snapshot) error {
	// Without a selector, or with one that is wrong, nothing is adopted; what is
	// owned is ours all the same. decide reports the selector.
	sel, err := metav1.LabelSelectorAsSelector(s.Rollout.Spec.Selector)
	if err != nil {
		sel = labels.Nothing()
	}
	for _, owner := range []string{string(s.Rollout.UID), Orphan} {
		var list appsv1.ReplicaSetList
		if err := o.list(ctx, &list, s.Rollout.Namespace, owner); err != nil {
			return err
		}
		for i := range list.Items {
			rs := &list.Items[i]
			if rs.DeletionTimestamp != nil || owner == Orphan && !sel.Matches(labels.Set(rs.Labels)) {
				continue
			}
			if o.Written.Behind("ReplicaSet", rs) {
				return ErrBehind
			}
			s.ReplicaSets = append(s.ReplicaSets, rs)
		}
	}
	if o.Written.Unseen("ReplicaSet", s.Rollout.UID, func(name string) bool {
		for _, rs := range s.ReplicaSets {
			if rs.Name == name {
				return true
			}
		}
		return false
	}) {
		return ErrBehind
	}
	return nil
}

func (o *Observer) list(ctx context.Context, into client.ObjectList, namespace, owner string) error {
	err := o.Reader.List(ctx, into, client.InNamespace(namespace), client.MatchingFields{OwnerIndex: owner}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("list %T in %s: %w", into, namespace, err)
	}
	return nil
}

func (o *Observer) services(ctx context.Context, s *rollout.Snapshot) error {
	s.Services, s.Owners = map[string]*corev1.Service{}, map[string]string{}
	for _, name := range rollout.ServiceNames(s.Rollout) {
		var svc corev1.Service
		found, err := o.get(ctx, s.Rollout.Namespace, name, &svc)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if o.Written.Behind("Service", &svc) {
			return ErrBehind
		}
		s.Services[name] = &svc
		if err := o.owner(ctx, s, &svc); err != nil {
			return err
		}
	}
	return nil
}

// owner notes the other Rollout that manages the Service, if it exists and
// still names it: marks are not removed when a Rollout is deleted.
func (o *Observer) owner(ctx context.Context, s *rollout.Snapshot, svc *corev1.Service) error {
	name := svc.Annotations[v1alpha1.AnnotationManagedBy]
	if name == "" || name == s.Rollout.Name {
		return nil
	}
	var other v1alpha1.Rollout
	found, err := o.get(ctx, svc.Namespace, name, &other)
	if err == nil && found && slices.Contains(rollout.ServiceNames(&other), svc.Name) {
		s.Owners[svc.Name] = name
	}
	return err
}

func (o *Observer) get(ctx context.Context, namespace, name string, into client.Object) (bool, error) {
	return get(ctx, o.Reader, namespace, name, into)
}

func get(ctx context.Context, reader client.Reader, namespace, name string, into client.Object) (bool, error) {
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %T %s/%s: %w", into, namespace, name, err)
	}
	return true, nil
}

func (o *Observer) analysisRuns(ctx context.Context, s *rollout.Snapshot) error {
	var list v1alpha1.AnalysisRunList
	if err := o.list(ctx, &list, s.Rollout.Namespace, string(s.Rollout.UID)); err != nil {
		return err
	}
	for i := range list.Items {
		run := &list.Items[i]
		if o.Written.Behind("AnalysisRun", run) {
			return ErrBehind
		}
		s.AnalysisRuns = append(s.AnalysisRuns, run)
	}
	if o.Written.Unseen("AnalysisRun", s.Rollout.UID, func(name string) bool {
		for _, run := range s.AnalysisRuns {
			if run.Name == name {
				return true
			}
		}
		return false
	}) {
		return ErrBehind
	}
	return nil
}

// MarkedServices are the Services a Rollout may have marked and may still use:
// those it names anywhere, whatever its strategy.
func MarkedServices(ro *v1alpha1.Rollout) []string {
	names := rollout.ServiceNames(ro)
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
		names = append(names, bg.ActiveService, bg.PreviewService)
	}
	if c := ro.Spec.Strategy.Canary; c != nil && c.PingPong != nil {
		names = append(names, c.PingPong.PingService, c.PingPong.PongService)
	}
	for _, r := range ro.Status.Canary.Routers {
		if r.Intended != nil {
			names = append(names, r.Intended.Stable.ServiceName, r.Intended.Canary.ServiceName)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}
