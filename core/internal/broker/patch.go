package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// diff returns the JSON merge patch that turns one tree into the other; empty
// when they are equal. Arrays are replaced whole, as merge patches do, which is
// why the patch is only right together with the resourceVersion of from. A nil
// value in to is the same as an absent one: merge patches cannot tell them
// apart, and neither does the API server.
func diff(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for key, was := range from {
		if is, kept := to[key]; was != nil && (!kept || is == nil) {
			patch[key] = nil
		}
	}
	for key, is := range to {
		was, had := from[key]
		switch is := is.(type) {
		case nil:
		case map[string]any:
			before, wasMap := was.(map[string]any)
			if inner := diff(before, is); len(inner) > 0 || !had || !wasMap {
				patch[key] = inner
			}
		default:
			if !had || !same(was, is) {
				patch[key] = is
			}
		}
	}
	return patch
}

// same compares two values of arrays and below. Languages without integers
// spell 10 as 10.0; that is no difference.
func same(a, b any) bool {
	if x, ok := a.([]any); ok {
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, same)
	}
	if x, ok := a.(map[string]any); ok {
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, same)
	}
	switch x := a.(type) {
	case int64:
		if y, ok := b.(float64); ok {
			return float64(x) == y
		}
	case float64:
		if y, ok := b.(int64); ok {
			return x == float64(y)
		}
	}
	return a == b
}

// onlyDesired checks that a patch changes nothing but what a plugin may steer:
// spec (or whatever a kind has instead), labels and annotations. Status and the
// rest of metadata belong to others.
func onlyDesired(key objectKey, patch map[string]any) error {
	for _, field := range slices.Sorted(maps.Keys(patch)) {
		switch field {
		case "apiVersion", "kind", "status":
			return fmt.Errorf("update of %s changes %s; a plugin may change spec, labels and annotations only", key, field)
		case "metadata":
			metadata, _ := patch[field].(map[string]any)
			if metadata == nil {
				return fmt.Errorf("update of %s removes metadata; send the full object", key)
			}
			for _, inner := range slices.Sorted(maps.Keys(metadata)) {
				if inner != "labels" && inner != "annotations" {
					return fmt.Errorf("update of %s changes metadata.%s; a plugin may change spec, labels and annotations only", key, inner)
				}
			}
		}
	}
	return nil
}

// onlyFresh checks that an object to be created carries nothing that belongs to
// the API server, the broker or others.
func onlyFresh(key objectKey, u *unstructured.Unstructured) error {
	metadata, _ := u.Object["metadata"].(map[string]any)
	var foreign []string
	for field, value := range metadata {
		switch field {
		case "name", "namespace", "labels", "annotations":
		default:
			if value != nil {
				foreign = append(foreign, "metadata."+field)
			}
		}
	}
	if status, ok := u.Object["status"].(map[string]any); ok && len(status) > 0 {
		foreign = append(foreign, "status")
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		return fmt.Errorf("creation of %s sets %s; leave it to the API server", key, strings.Join(foreign, ", "))
	}
	return nil
}
