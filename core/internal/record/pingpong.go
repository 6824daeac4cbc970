package record

import (
	"cmp"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// pingPong lets the two Services change roles with a promotion. What status says
// of the traffic between them changes roles with them: the routes stay as they
// are. Subsets have roles of their own, and keep them.
func (r *recorder) pingPong() {
	next := r.plan.Transition.PingPong
	if !r.applied || r.plan.Transition.Kind != rollout.TransitionPromote || next == "" {
		return
	}
	before := cmp.Or(r.old.Canary.StablePingPong, v1alpha1.PingPongPing)
	r.new.Canary.StablePingPong = next
	if next == before {
		return
	}
	r.new.Canary.Weights = turned(r.new.Canary.Weights)
	routers := make([]v1alpha1.RouterStatus, 0, len(r.new.Canary.Routers))
	for _, router := range r.new.Canary.Routers {
		if router.Phase != v1alpha1.RouterReleasing {
			router.Intended, router.Acknowledged = turned(router.Intended), turned(router.Acknowledged)
		}
		routers = append(routers, router)
	}
	r.new.Canary.Routers = routers
}

func turned(w *v1alpha1.TrafficWeights) *v1alpha1.TrafficWeights {
	if w == nil || w.Canary.ServiceName == "" && w.Stable.ServiceName == "" {
		return w
	}
	out := w.DeepCopy()
	out.Canary, out.Stable = out.Stable, out.Canary
	return out
}
