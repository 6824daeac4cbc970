package rollout

import "github.com/sluice-rollouts/sluice/core/api/v1alpha1"

// ServiceNames are the Services a Rollout names, in spec or status, each once.
func ServiceNames(ro *v1alpha1.Rollout) []string {
	var names []string
	if c := ro.Spec.Strategy.Canary; c != nil {
		names = append(names, c.StableService, c.CanaryService)
		if pp := c.PingPong; pp != nil {
			names = append(names, pp.PingService, pp.PongService)
		}
	}
	if bg := ro.Spec.Strategy.BlueGreen; bg != nil {
		names = append(names, bg.ActiveService, bg.PreviewService)
	}
	if w := ro.Status.Canary.Weights; w != nil {
		names = append(names, w.Stable.ServiceName, w.Canary.ServiceName)
	}
	for _, r := range ro.Status.Canary.Routers { // a router that is being released still routes to them
		if w := r.Intended; w != nil {
			names = append(names, w.Stable.ServiceName, w.Canary.ServiceName)
		}
	}
	var out []string
	seen := map[string]bool{"": true}
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}
