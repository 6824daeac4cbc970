package preview

import (
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// invalid is why the planner refuses the Rollout among these objects; "" when it
// does not. Routers with a block of their own can do what the bundled ones can.
func invalid(o Objects) string {
	e := &explainer{now: time.Unix(0, 0), o: o, ro: o.Rollout}
	s := e.snapshot()
	for i, r := range s.Routers {
		if can, known := bundled[r.Plugin]; known {
			s.Routers[i].Capabilities = rollout.Capabilities{HeaderRoutes: can.HeaderRoutes, MirrorRoutes: can.MirrorRoutes, Experiments: can.Experiments, MaxWeight: can.MaxWeight}
		}
	}
	return decide.Decide(s).Invalid
}

func serviceNames(ro *v1alpha1.Rollout) []string { return rollout.ServiceNames(ro) }
