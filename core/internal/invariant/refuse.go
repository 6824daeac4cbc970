package invariant

import (
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Refuse is the plan without the operations that break a rule and those that
// come after one of them, held by the rules they would have broken. Everything
// else goes on: one mistake of the planner must not keep pods from being
// repaired, or another router from giving traffic back. A change of position
// that breaks a rule, or comes after a refused operation, does not take place.
func Refuse(s *rollout.Snapshot, plan rollout.Plan, found []Violation) rollout.Plan {
	what, refused := make([]string, 0, len(found)), map[rollout.OpID]bool{}
	moves := true
	for _, v := range found {
		what = append(what, v.Error())
		refused[v.Op] = true
		moves = moves && v.Op != ""
	}
	delete(refused, "")
	for more := true; more; {
		more = false
		for _, op := range plan.Ops {
			if !refused[op.ID()] && slices.ContainsFunc(op.After(), func(id rollout.OpID) bool { return refused[id] }) {
				refused[op.ID()], more = true, true
			}
		}
	}
	var ops []rollout.Op
	for _, op := range plan.Ops {
		if !refused[op.ID()] {
			ops = append(ops, op)
			continue
		}
		plan.Routers = restored(s, plan.Routers, op)
	}
	plan.Ops = ops
	if !moves || slices.ContainsFunc(plan.Transition.After, func(id rollout.OpID) bool { return refused[id] }) {
		plan.Transition = rollout.Transition{}
	}
	plan.Holds = append([]rollout.Hold{{
		Reason:   rollout.HoldInvariant,
		What:     strings.Join(what, "; "),
		EndedBy:  "a change of the rollout or its pods; please report this as a bug",
		Blocking: true,
	}}, plan.Holds...)
	return plan
}

// restored keeps what status says of the router whose operation was refused: it
// was not asked for what the plan says.
func restored(s *rollout.Snapshot, routers []v1alpha1.RouterStatus, op rollout.Op) []v1alpha1.RouterStatus {
	var of rollout.Router
	switch o := op.(type) {
	case rollout.RouteTraffic:
		of = o.Router
	case rollout.ReleaseTraffic:
		of = o.Router
	default:
		return routers
	}
	out := slices.Clone(routers)
	for i, e := range out {
		for _, old := range s.Rollout.Status.Canary.Routers {
			if e.Plugin == of.Plugin && old.Plugin == of.Plugin && old.Phase == e.Phase && rollout.SameConfig(old.Config, e.Config) {
				out[i] = old
			}
		}
	}
	return out
}
