package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// kind is a kind of stored object.
type kind string

const (
	kindRollout     kind = "Rollout"
	kindReplicaSet  kind = "ReplicaSet"
	kindService     kind = "Service"
	kindAnalysisRun kind = "AnalysisRun"
	kindTemplate    kind = "AnalysisTemplate"
	kindExperiment  kind = "Experiment"
	kindRoute       kind = "Route"
	kindDeployment  kind = "Deployment"
)

// kinds in a fixed order, so that runs can be repeated.
var kinds = []kind{kindRollout, kindReplicaSet, kindService, kindAnalysisRun, kindExperiment, kindTemplate, kindRoute, kindDeployment}

type object interface {
	metav1.Object
	DeepCopyObject() runtime.Object
}

type key struct {
	kind kind
	name string
}

// actor is who made a change.
type actor string

const (
	byController actor = "controller"
	byCluster    actor = "cluster"
	byUser       actor = "user"
)

// change is one committed write; before is nil for a creation, after for a
// deletion.
type change struct {
	key           key
	by            actor
	before, after object
}

// store keeps objects with resource versions, and every change in order.
// Objects in it are never modified, only replaced.
type store struct {
	version int64
	live    map[key]object
	log     []change
	// committed is told of every change.
	committed func(change)
	now       func() metav1.Time
}

func resource(k key) schema.GroupResource { return schema.GroupResource{Resource: string(k.kind)} }

func (s *store) create(by actor, k key, obj object) error {
	if s.live[k] != nil {
		return apierrors.NewAlreadyExists(resource(k), k.name)
	}
	stored := obj.DeepCopyObject().(object)
	s.version++
	stored.SetName(k.name)
	stored.SetUID(types.UID(fmt.Sprintf("%s-%s-%d", k.kind, k.name, s.version)))
	stored.SetGeneration(1)
	stored.SetCreationTimestamp(s.now())
	s.commit(by, k, nil, stored)
	return nil
}

// update edits a copy and stores it. A version that is not empty must be the
// stored one. An edit that changes nothing is not a change.
func (s *store) update(by actor, k key, version string, edit func(object)) (object, error) {
	old := s.live[k]
	if old == nil {
		return nil, apierrors.NewNotFound(resource(k), k.name)
	}
	if version != "" && version != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(resource(k), k.name, fmt.Errorf("have version %s, not %s", old.GetResourceVersion(), version))
	}
	next := old.DeepCopyObject().(object)
	edit(next)
	next = asStored(next)
	if apiequality.Semantic.DeepEqual(old, next) {
		return old, nil
	}
	if !apiequality.Semantic.DeepEqual(specOf(old), specOf(next)) {
		next.SetGeneration(old.GetGeneration() + 1)
	}
	s.version++
	s.commit(by, k, old, next)
	return next, nil
}

func (s *store) remove(by actor, k key, uid, version string) error {
	old := s.live[k]
	if old == nil || uid != "" && string(old.GetUID()) != uid {
		return nil
	}
	if version != "" && version != old.GetResourceVersion() {
		return apierrors.NewConflict(resource(k), k.name, fmt.Errorf("have version %s, not %s", old.GetResourceVersion(), version))
	}
	s.version++
	delete(s.live, k)
	s.told(change{key: k, by: by, before: old})
	return nil
}

func (s *store) commit(by actor, k key, old, next object) {
	next.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.live[k] = next
	s.told(change{key: k, by: by, before: old, after: next})
}

func (s *store) told(c change) {
	s.log = append(s.log, c)
	s.committed(c)
}

// asStored is the object as it comes back from the API server: times lose their
// fractions, empty lists and maps become nil.
func asStored(obj object) object {
	ro, ok := obj.(*v1alpha1.Rollout)
	if !ok {
		return obj
	}
	raw, err := json.Marshal(ro)
	if err != nil {
		panic(fmt.Sprintf("a Rollout that cannot be encoded: %v", err))
	}
	var out v1alpha1.Rollout
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(fmt.Sprintf("a Rollout that cannot be decoded: %v", err))
	}
	return &out
}

// specOf is the part of an object whose changes raise its generation.
func specOf(obj object) any {
	switch o := obj.(type) {
	case *v1alpha1.Rollout:
		return o.Spec
	case *appsv1.ReplicaSet:
		return o.Spec
	case *appsv1.Deployment:
		return o.Spec
	case *corev1.Service:
		return o.Spec
	case *v1alpha1.AnalysisRun:
		return o.Spec
	case *v1alpha1.Experiment:
		return o.Spec
	case *v1alpha1.AnalysisTemplate:
		return o.Spec
	case *Route:
		return o.Places
	}
	return nil
}

// list returns the objects of a kind, sorted by name.
func list[T object](objects map[key]object, k kind) []T {
	var out []T
	for at, obj := range objects {
		if at.kind == k {
			out = append(out, obj.(T))
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		switch {
		case a.GetName() < b.GetName():
			return -1
		case a.GetName() > b.GetName():
			return 1
		}
		return 0
	})
	return out
}

func find[T object](objects map[key]object, k kind, name string) T {
	obj, _ := objects[key{k, name}].(T)
	return obj
}

// cache is what the controller's informers have shown so far, each kind with a
// lag of its own.
type cache struct {
	objects map[key]object
	// shown counts, by kind, the changes in the log that have been looked at.
	shown map[kind]int
}

func (c *cache) pending(s *store, k kind) bool {
	for i := c.shown[k]; i < len(s.log); i++ {
		if s.log[i].key.kind == k {
			return true
		}
		c.shown[k] = i + 1
	}
	return false
}

// deliver shows the next change of the kind, if there is one.
func (c *cache) deliver(s *store, k kind) bool {
	if !c.pending(s, k) {
		return false
	}
	ch := s.log[c.shown[k]]
	c.shown[k]++
	if ch.after == nil {
		delete(c.objects, ch.key)
	} else {
		c.objects[ch.key] = ch.after
	}
	return true
}

// list shows everything, as a new process does.
func newCache(s *store) *cache {
	c := &cache{objects: map[key]object{}, shown: map[kind]int{}}
	for k, obj := range s.live {
		c.objects[k] = obj
	}
	for _, k := range kinds {
		c.shown[k] = len(s.log)
	}
	return c
}
