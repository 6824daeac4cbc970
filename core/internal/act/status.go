package act

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// WriteStatus writes the status of a Rollout as a merge patch of the difference
// against the version it was computed from. A user's promote or abort in between
// makes it conflict, and wins.
func (a *Actor) WriteStatus(ctx context.Context, ro *v1alpha1.Rollout, status v1alpha1.RolloutStatus, out rollout.Outcome) error {
	version := ro.ResourceVersion
	if out.ResourceVersion != "" {
		version = out.ResourceVersion
	}
	patch, err := statusPatch(ro.Status, status, version)
	if err != nil {
		return fmt.Errorf("encode status of Rollout %s/%s: %w", ro.Namespace, ro.Name, err)
	}
	written, err := a.answerTo(ro)
	if err == nil {
		err = a.Writer.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, patch))
	}
	if err != nil {
		return fmt.Errorf("write status of Rollout %s/%s: %w", ro.Namespace, ro.Name, err)
	}
	a.Memory.Wrote("Rollout", written)
	return nil
}

// statusPatch encodes nothing but the two statuses: a Rollout is mostly its pod
// template, and that does not change here.
func statusPatch(before, after v1alpha1.RolloutStatus, version string) ([]byte, error) {
	was, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	if equality.Semantic.DeepEqual(before, v1alpha1.RolloutStatus{}) {
		was = []byte("{}") // nothing is stored yet, not even what is written empty
	}
	is, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	difference, err := jsonpatch.CreateMergePatch(was, is)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": version}, "status": json.RawMessage(difference),
	})
}
