package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// change is one checked write.
type change struct {
	verb rollout.WriteVerb
	key  objectKey
	kind kind
	// shown is what the write was computed from; nil for a creation.
	shown *unstructured.Unstructured
	// wanted is the object to create; patch is the difference of an update,
	// empty when there is none.
	wanted *unstructured.Unstructured
	patch  map[string]any
}

// Apply makes the writes of one answer, in order, and stops at the first that
// fails. All of them are checked before the first is sent.
//
// shown is what the plugin was shown when it answered: an object can only be
// updated or deleted if it is in there, as it is in there. An update without a
// difference sends nothing; deleting what is gone is success.
//
// apierrors.IsConflict says that an object is not as it was shown: observe
// again. A *rollout.Problem of class Refused says that the plugin asked for
// something it may not do, or that the controller may not. Anything else is
// worth another try.
func (b *Broker) Apply(ctx context.Context, caller rollout.Caller, grant rollout.Grant, shown []rollout.NeedResult, writes []rollout.Write) error {
	if len(writes) == 0 {
		return nil
	}
	objects, err := index(shown)
	if err != nil {
		return err
	}
	changes := make([]change, 0, len(writes))
	taken := map[objectKey]bool{}
	for _, write := range writes {
		one, err := b.check(ctx, caller, grant, objects, write)
		if err != nil {
			return err
		}
		if taken[one.key] {
			return refuse("two writes to %s in one answer; send one per object, the next observation leads to the next", one.key)
		}
		taken[one.key] = true
		changes = append(changes, one)
	}
	for _, one := range changes {
		if err := b.make(ctx, caller, one); err != nil {
			return explain(err, grant, one)
		}
	}
	return nil
}

// index finds the shown objects by key.
func index(shown []rollout.NeedResult) (map[objectKey]*unstructured.Unstructured, error) {
	objects := map[objectKey]*unstructured.Unstructured{}
	for _, result := range shown {
		if result.State != rollout.NeedSynced {
			continue
		}
		for _, object := range result.Objects {
			u, err := decode(object.JSON)
			if err != nil {
				return nil, fmt.Errorf("decoding a shown %s: %w", result.Need.Kind, err)
			}
			objects[keyOf(u)] = u
		}
	}
	return objects, nil
}

// check turns a write into a change, or refuses it.
func (b *Broker) check(ctx context.Context, caller rollout.Caller, grant rollout.Grant, objects map[objectKey]*unstructured.Unstructured, write rollout.Write) (change, error) {
	wanted, err := decode(write.JSON)
	if err != nil {
		return change{}, refuse("a %s is not an object: %v", write.Verb, err)
	}
	one := change{verb: write.Verb, key: keyOf(wanted), wanted: wanted, shown: objects[keyOf(wanted)]}
	if refusal := checkKind(grant, string(write.Verb), one.key.GroupKind); refusal != "" {
		return one, refuse("%s of %s: %s", write.Verb, one.key, refusal)
	}
	switch write.Verb {
	case rollout.WriteCreate:
		err = checkCreate(caller, one)
	case rollout.WriteUpdate:
		one.patch, err = checkUpdate(one)
	case rollout.WriteDelete:
		err = checkDelete(caller, one)
	default:
		err = refuse("unknown verb %q for %s", write.Verb, one.key)
	}
	if err == nil {
		err = b.checkNamespace(caller, grant, one.key)
	}
	if err != nil {
		return one, err
	}
	one.kind, err = b.kinds.find(ctx, one.key.GroupKind, []string{wanted.GroupVersionKind().Version})
	if err != nil {
		return one, fmt.Errorf("%s of %s: %w", write.Verb, one.key, err)
	}
	if write.Verb == rollout.WriteCreate && !one.kind.Namespaced {
		return one, refuse("creation of %s: a cluster-scoped object cannot be owned by %s %s/%s", one.key, caller.Kind, caller.Namespace, caller.Name)
	}
	return one, nil
}

func checkCreate(caller rollout.Caller, one change) error {
	if one.key.Namespace != caller.Namespace {
		return refuse("creation of %s: objects are created in namespace %s only, that of %s %s", one.key, caller.Namespace, caller.Kind, caller.Name)
	}
	if err := onlyFresh(one.key, one.wanted); err != nil {
		return refuse("%v", err)
	}
	return nil
}

func checkUpdate(one change) (map[string]any, error) {
	if one.shown == nil {
		return nil, refuse("update of %s, which was not shown; list it in needs", one.key)
	}
	patch := diff(one.shown.Object, one.wanted.Object)
	if err := onlyDesired(one.key, patch); err != nil {
		return nil, refuse("%v", err)
	}
	return patch, nil
}

func checkDelete(caller rollout.Caller, one change) error {
	if one.shown == nil {
		return refuse("deletion of %s, which was not shown; list it in needs", one.key)
	}
	if rv := one.wanted.GetResourceVersion(); rv != "" && rv != one.shown.GetResourceVersion() {
		return refuse("deletion of %s at resourceVersion %s, shown was %s", one.key, rv, one.shown.GetResourceVersion())
	}
	if owner := metav1.GetControllerOf(one.shown); owner == nil || string(owner.UID) != caller.UID {
		return refuse("deletion of %s, which %s %s/%s did not create", one.key, caller.Kind, caller.Namespace, caller.Name)
	}
	return nil
}

// checkNamespace repeats for a write what Resolve decided for the read: a
// ReferenceGrant may have gone since.
func (b *Broker) checkNamespace(caller rollout.Caller, grant rollout.Grant, key objectKey) error {
	if namespaceGranted(caller, grant, key.Namespace) {
		return nil
	}
	watchKey, _, err := keyOfNeed(referenceGrants(key.Namespace))
	if err != nil {
		return err
	}
	b.mu.Lock()
	s := b.watches[watchKey]
	b.mu.Unlock()
	if s == nil {
		return conflict(key, "its namespace was not asked yet")
	}
	switch state, message := permitted(s.answer(&b.own, time.Now()), caller, key.GroupKind, key.Namespace, key.Name); state {
	case rollout.NeedSynced:
		return nil
	case rollout.NeedSyncing:
		return conflict(key, message)
	default:
		return refuse("write to %s: %s", key, message)
	}
}

// make sends one change and remembers it.
func (b *Broker) make(ctx context.Context, caller rollout.Caller, one change) error {
	resource := b.options.Client.Resource(one.kind.gvr()).Namespace(one.key.Namespace)
	done := written{at: time.Now()}
	switch one.verb {
	case rollout.WriteCreate:
		return b.create(ctx, resource, caller, one)
	case rollout.WriteDelete:
		err := resource.Delete(ctx, one.key.Name, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: ptr.To(one.shown.GetUID()), ResourceVersion: ptr.To(one.shown.GetResourceVersion())},
			PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		done.uid, done.deleted = one.shown.GetUID(), true
	case rollout.WriteUpdate:
		if len(one.patch) == 0 {
			return nil
		}
		after, err := b.patch(ctx, resource, one)
		if err != nil {
			return err
		}
		done.uid, done.rv, done.base, done.labels = after.GetUID(), after.GetResourceVersion(), one.shown.GetResourceVersion(), after.GetLabels()
	}
	b.own.remember(one.key, done)
	return nil
}

func (b *Broker) create(ctx context.Context, resource dynamic.ResourceInterface, caller rollout.Caller, one change) error {
	owner := schema.FromAPIVersionAndKind(caller.APIVersion, caller.Kind)
	one.wanted.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(
		&metav1.ObjectMeta{Name: caller.Name, UID: types.UID(caller.UID)}, owner)})
	after, err := resource.Create(ctx, one.wanted, metav1.CreateOptions{FieldManager: b.options.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return conflict(one.key, "it exists already")
	}
	if err != nil {
		return err
	}
	b.own.remember(one.key, written{at: time.Now(), uid: after.GetUID(), rv: after.GetResourceVersion(), labels: after.GetLabels()})
	return nil
}

func (b *Broker) patch(ctx context.Context, resource dynamic.ResourceInterface, one change) (*unstructured.Unstructured, error) {
	metadata, _ := one.patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		one.patch["metadata"] = metadata
	}
	// The API server refuses the patch with a conflict unless the object is at
	// this version.
	metadata["resourceVersion"] = one.shown.GetResourceVersion()
	body, err := json.Marshal(one.patch)
	if err != nil {
		return nil, fmt.Errorf("encoding the patch of %s: %w", one.key, err)
	}
	after, err := resource.Patch(ctx, one.key.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: b.options.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil, conflict(one.key, "it is gone")
	}
	return after, err
}

// explain names the object, and the cure where the API server refuses the
// controller. Admission refuses with 403 too, but never says "cannot".
func explain(err error, grant rollout.Grant, one change) error {
	if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot ") {
		return refuse("%s of %s: %v; %s", one.verb, one.key, err, rbacCure(grant, one.kind))
	}
	return fmt.Errorf("%s of %s: %w", one.verb, one.key, err)
}

func refuse(format string, args ...any) error {
	return &rollout.Problem{
		Class:   rollout.ProblemRefused,
		Reason:  string(rollout.HoldPluginRefused),
		Message: fmt.Sprintf(format, args...),
	}
}

func conflict(key objectKey, why string) error {
	return apierrors.NewConflict(schema.GroupResource{Group: key.Group, Resource: key.Kind}, key.Name, fmt.Errorf("%s; observe again", why))
}
