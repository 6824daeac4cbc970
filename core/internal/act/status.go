package act

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// WriteStatus writes the status of a Rollout as a merge patch of the difference
// against the version it was computed from. A user's promote or abort in between
// makes it conflict, and wins.
func (a *Actor) WriteStatus(ctx context.Context, ro *v1alpha1.Rollout, status v1alpha1.RolloutStatus, out rollout.Outcome) error {
	base := ro.DeepCopy()
	if out.ResourceVersion != "" {
		base.ResourceVersion = out.ResourceVersion
	}
	next := base.DeepCopy()
	next.Status = status
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := a.Writer.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("write status of Rollout %s/%s: %w", ro.Namespace, ro.Name, err)
	}
	a.Memory.Wrote("Rollout", next)
	return nil
}
