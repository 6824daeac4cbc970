package cli

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fields is a JSON merge patch; nil removes.
type fields map[string]any

// patch writes fields of spec or metadata.
func (c *cluster) patch(ctx context.Context, obj client.Object, f fields) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return c.Patch(ctx, obj, client.RawPatch(types.MergePatchType, raw))
}

// patchStatus writes fields of status. CRDs of old installations have no status
// subresource; there status is written like any other field.
func (c *cluster) patchStatus(ctx context.Context, obj client.Object, status any) error {
	return c.patchStatusAt(ctx, obj, "", status)
}

// patchStatusAt is patchStatus that fails with a conflict unless the object
// still has the resource version.
func (c *cluster) patchStatusAt(ctx context.Context, obj client.Object, version string, status any) error {
	body := fields{"status": status}
	if version != "" {
		body["metadata"] = fields{"resourceVersion": version}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	patch := client.RawPatch(types.MergePatchType, raw)
	err = c.Status().Patch(ctx, obj, patch)
	if apierrors.IsNotFound(err) {
		return c.Patch(ctx, obj, patch)
	}
	return err
}

// jsonPatch is one operation of RFC 6902.
type jsonPatch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func (c *cluster) patchJSON(ctx context.Context, obj client.Object, ops []jsonPatch) error {
	raw, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	return c.Patch(ctx, obj, client.RawPatch(types.JSONPatchType, raw))
}

// retries is how often a change is computed anew when somebody else was faster.
const retries = 5

// retrying computes and writes a change until nobody interferes.
func retrying(change func() error) error {
	var err error
	for range retries {
		if err = change(); !apierrors.IsConflict(err) {
			return err
		}
	}
	return fmt.Errorf("%d attempts: %w", retries, err)
}
