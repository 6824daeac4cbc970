package controller

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// contested says which other Rollout has the right to one of the claims; nil
// when all of them are the Rollout's own. Whoever has recorded a claim in
// status holds it; of two that have, the older Rollout, and of two of the same
// second the one with the smaller UID. What nobody holds is free: it is
// recorded before the first write, and the next pass decides.
func contested(ro *v1alpha1.Rollout, claims []rollout.Claim, all []*v1alpha1.Rollout) *rollout.Problem {
	for _, other := range all {
		if other.UID == ro.UID || len(other.Status.Canary.Routers) == 0 {
			continue
		}
		for _, claim := range claims {
			if !holds(other, claim) || holds(ro, claim) && older(ro, other) {
				continue
			}
			return &rollout.Problem{
				Class:  rollout.ProblemConflict,
				Reason: string(rollout.HoldRouteConflict),
				Message: fmt.Sprintf("Rollout %s/%s already routes %s of %s; give this Rollout another backend, or delete the other one or its traffic routing",
					other.Namespace, other.Name, claim.Key, claim.Object),
			}
		}
	}
	return nil
}

func holds(ro *v1alpha1.Rollout, claim rollout.Claim) bool {
	want := v1alpha1.RouterHold{Object: claim.Object, Key: claim.Key}
	return slices.ContainsFunc(ro.Status.Canary.Routers, func(router v1alpha1.RouterStatus) bool {
		return slices.Contains(router.Holds, want)
	})
}

func older(a, b *v1alpha1.Rollout) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.UID < b.UID
}
