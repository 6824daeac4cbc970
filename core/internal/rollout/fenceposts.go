package rollout

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Fenceposts are the pods that may exist beyond replicas, rounded up, and those
// of them that may be missing, rounded down. A nil bound is 0; where both come
// to 0 one pod may be missing, or nothing could ever change. An error says
// which value is no number; then both are 0.
func Fenceposts(maxSurge, maxUnavailable *intstr.IntOrString, replicas int32) (surge, unavailable int32, err error) {
	surge, err = bound(maxSurge, replicas, 99)
	if err != nil {
		return 0, 0, fmt.Errorf("maxSurge: %w", err)
	}
	unavailable, err = bound(maxUnavailable, replicas, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("maxUnavailable: %w", err)
	}
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable, nil
}

// bound reads a count, or a percent of replicas to which rounding hundredths
// are added. A string is a percent with and without its sign, as Argo Rollouts
// reads it.
func bound(v *intstr.IntOrString, replicas int32, rounding int64) (int32, error) {
	if v == nil {
		return 0, nil
	}
	n := int64(v.IntVal)
	if v.Type == intstr.String {
		percent, err := strconv.ParseInt(strings.TrimSuffix(v.StrVal, "%"), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is neither a number nor a percent; use e.g. 1 or \"25%%\"", v.StrVal)
		}
		n = (percent*int64(replicas) + rounding) / 100
	}
	if n < 0 {
		return 0, fmt.Errorf("%s is negative; set 0 or more", v.String())
	}
	return int32(min(n, 1<<31-1)), nil
}

// PodBounds of a canary without traffic routing: never more pods than ceiling,
// and no fewer available ones than floor as far as it is up to the rollout.
// maxSurge and maxUnavailable that cannot be read count as 0.
func PodBounds(c *v1alpha1.CanaryStrategy, replicas int32) (ceiling, floor int64) {
	replicas = max(0, replicas)
	s, u := c.MaxSurgeOrDefault(), c.MaxUnavailableOrDefault()
	surge, unavailable, err := Fenceposts(&s, &u, replicas)
	if err != nil {
		surge, unavailable = 0, 0
	}
	return int64(replicas) + int64(surge), int64(replicas) - int64(min(unavailable, replicas))
}

// ScaleInForce is the setCanaryScale step that sizes the canary now: the
// nearest one at or before the current step, unless that one gives the size
// back to the weight. Nil where the weight decides: without traffic routing,
// behind the last step, during a full promotion, and after an abort unless the
// aborted pods are kept for good.
func ScaleInForce(ro *v1alpha1.Rollout) *v1alpha1.SetCanaryScale {
	c, st := ro.Spec.Strategy.Canary, ro.Status
	if c == nil || c.TrafficRouting == nil || st.PromoteFull {
		return nil
	}
	if _, never := c.AbortScaleDownDelay(); st.Abort && !never {
		return nil
	}
	index := int32(0)
	if st.CurrentStepIndex != nil {
		index = max(0, *st.CurrentStepIndex)
	}
	if int(index) >= len(c.Steps) {
		return nil
	}
	for i := index; i >= 0; i-- {
		scale := c.Steps[i].SetCanaryScale
		switch {
		case scale == nil:
			continue
		case scale.MatchTrafficWeight, scale.Replicas == nil && scale.Weight == nil:
			return nil
		}
		return scale
	}
	return nil
}
