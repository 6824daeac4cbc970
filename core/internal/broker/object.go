package broker

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// objectKey names an object whatever version it is served in.
type objectKey struct {
	schema.GroupKind
	types.NamespacedName
}

// String names the object the way people do: "HTTPRoute shop/web".
func (k objectKey) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.NamespacedName.String()
}

func keyOf(u *unstructured.Unstructured) objectKey {
	return objectKey{
		GroupKind:      u.GroupVersionKind().GroupKind(),
		NamespacedName: types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()},
	}
}

// cached is an object in an informer's store: the bytes a plugin is shown, and
// of the tree only the metadata. Encoding once per change instead of once per
// Resolve is what keeps a Resolve at rest free of work.
type cached struct {
	*unstructured.Unstructured
	json []byte
}

func (c *cached) shown() rollout.Object {
	return rollout.Object{
		APIVersion:      c.GetAPIVersion(),
		ResourceVersion: c.GetResourceVersion(),
		JSON:            c.json,
	}
}

// trim is the informers' transform. It is idempotent, as client-go asks.
func trim(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		// A *cached that comes back, or a tombstone.
		return obj, nil
	}
	u.SetManagedFields(nil)
	raw, err := utiljson.Marshal(u.Object)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", keyOf(u), err)
	}
	slim := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": u.Object["apiVersion"],
		"kind":       u.Object["kind"],
		"metadata":   u.Object["metadata"],
	}}
	return &cached{Unstructured: slim, json: raw}, nil
}

// decode reads a JSON object with Kubernetes' rules: numbers become int64 where
// they fit, so that two encodings of one number compare equal.
func decode(raw []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(raw, &u.Object); err != nil {
		return nil, err
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" || u.GetName() == "" {
		return nil, fmt.Errorf("apiVersion, kind and metadata.name are required")
	}
	return u, nil
}
