package record

import (
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// acknowledged notes what routers that cannot be observed have taken on, or
// given up: status is all that is known of them.
func (r *recorder) acknowledged() {
	routers := slices.Clone(r.new.Canary.Routers)
	for _, op := range r.plan.Ops {
		if !r.out.Succeeded(op.ID()) {
			continue
		}
		switch o := op.(type) {
		case rollout.RouteTraffic:
			if e := entry(routers, o.Router); e != nil && !o.Router.Capabilities.Observe {
				weights := o.Weights
				weights.Verified = verified(r.out.Converged[o.ID()])
				e.Acknowledged, e.AcknowledgedRoutes = &weights, rollout.Contents(o.Desired.Managed)
				e.Unacknowledged, e.UnacknowledgedRoutes = nil, nil
			}
		case rollout.ReleaseTraffic:
			if e := entry(routers, o.Router); e != nil && !o.Router.Capabilities.Observe {
				e.Intended, e.IntendedRoutes, e.Acknowledged, e.AcknowledgedRoutes = nil, nil, nil, nil
				e.Unacknowledged, e.UnacknowledgedRoutes = nil, nil
			}
		}
	}
	r.new.Canary.Routers = routers
}

func entry(routers []v1alpha1.RouterStatus, of rollout.Router) *v1alpha1.RouterStatus {
	for i := range routers {
		e := &routers[i]
		if e.Plugin == of.Plugin && of.Releasing == (e.Phase == v1alpha1.RouterReleasing) && rollout.SameConfig(e.Config, of.Config) {
			return e
		}
	}
	return nil
}

// verified is nil when nobody can tell.
func verified(c rollout.Convergence) *bool {
	switch c {
	case rollout.ConvergenceDone:
		yes := true
		return &yes
	case rollout.ConvergencePending:
		no := false
		return &no
	}
	return nil
}
