package invariant_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

func subsets(stable, canary string, weight int32) rollout.Traffic {
	return rollout.Traffic{TotalWeight: 100, Destinations: []rollout.Destination{
		{Role: rollout.RoleStable, Hash: stable, Weight: 100 - weight}, {Role: rollout.RoleCanary, Hash: canary, Weight: weight}}}
}

// betweenSubsets is atHalf without Services: the router splits between subsets,
// and is asked for another traffic.
func (sc *scene) betweenSubsets(now, desired rollout.Traffic) {
	c := sc.s.Rollout.Spec.Strategy.Canary
	c.StableService, c.CanaryService = "", ""
	clear(sc.s.Services)
	sc.s.Routers = []rollout.Router{{Plugin: "r", Observation: rollout.Observation{Observed: []rollout.Observed{{Place: "p", Traffic: now}}}}}
	sc.plan.Ops = []rollout.Op{rollout.RouteTraffic{Identity: rollout.Identity{OpID: "route/r"}, Router: sc.s.Routers[0], Desired: desired}}
}

// Subsets follow the rules of Services: each pair is a plan that breaks one, and
// its closest neighbour that does not.
func TestSubsetRulesCanBreak(t *testing.T) {
	for name, tt := range map[string]struct {
		rule         string
		broken, fine func(*scene)
	}{
		"one that carries traffic": {"I6",
			func(sc *scene) { sc.betweenSubsets(subsets("old", "older", 50), subsets("old", "new", 50)) },
			func(sc *scene) { sc.betweenSubsets(subsets("old", "older", 0), subsets("old", "new", 0)) }},
		"one that is emptied and moved at once": {"I6",
			func(sc *scene) { sc.betweenSubsets(subsets("old", "older", 50), subsets("old", "new", 0)) },
			func(sc *scene) { sc.betweenSubsets(subsets("old", "older", 50), subsets("old", "older", 0)) }},
		"one that is moved and filled at once": {"I6",
			func(sc *scene) { sc.betweenSubsets(subsets("old", "old", 0), subsets("old", "new", 50)) },
			func(sc *scene) { sc.betweenSubsets(subsets("old", "new", 0), subsets("old", "new", 50)) }},
		"one that moves to nothing": {"I6",
			func(sc *scene) {
				sc.pods("new", 2, 0)
				sc.betweenSubsets(subsets("old", "old", 0), subsets("old", "new", 0))
			},
			func(sc *scene) {
				sc.pods("new", 2, 1)
				sc.betweenSubsets(subsets("old", "old", 0), subsets("old", "new", 0))
			}},
		"one that is adopted too early": {"I6",
			func(sc *scene) {
				sc.pods("old", 4, 3)
				sc.betweenSubsets(subsets("", "", 0), subsets("old", "old", 0))
			},
			func(sc *scene) { sc.betweenSubsets(subsets("", "", 0), subsets("old", "old", 0)) }},
		"a stable one that leaves pods which serve for too few": {"I6",
			func(sc *scene) {
				sc.pods("older", 1, 1)
				sc.pods("old", 4, 3)
				sc.betweenSubsets(subsets("older", "old", 0), subsets("old", "old", 0))
			},
			func(sc *scene) {
				sc.pods("older", 1, 1)
				sc.betweenSubsets(subsets("older", "old", 0), subsets("old", "old", 0))
			}},
		"a stable one that leaves no pods": {"I6",
			func(sc *scene) {
				sc.pods("older", 1, 1)
				sc.pods("old", 4, 3)
				sc.betweenSubsets(subsets("older", "old", 0), subsets("old", "old", 0))
			},
			func(sc *scene) {
				sc.pods("old", 4, 3)
				sc.betweenSubsets(subsets("older", "old", 0), subsets("old", "old", 0))
			}},
		"a weight without the pods for it": {"I2",
			func(sc *scene) { sc.betweenSubsets(subsets("old", "new", 50), subsets("old", "new", 75)) },
			func(sc *scene) {
				sc.pods("new", 3, 3)
				sc.betweenSubsets(subsets("old", "new", 50), subsets("old", "new", 75))
			}},
		"a stable weight that goes where no pod is": {"I2",
			func(sc *scene) {
				sc.pods("older", 0, 0)
				sc.betweenSubsets(subsets("older", "new", 50), subsets("older", "new", 0))
			},
			func(sc *scene) {
				sc.pods("older", 0, 0)
				sc.betweenSubsets(subsets("older", "new", 50), subsets("old", "new", 0))
			}},
		"the last pod behind a subset": {"I4",
			func(sc *scene) {
				sc.s.Rollout.Status.CurrentPodHash, sc.plan.Hash = "newer", "newer"
				sc.deadline("new", now)
				sc.betweenSubsets(subsets("old", "new", 0), subsets("old", "new", 0))
				sc.resize("new", 0)
			},
			func(sc *scene) {
				sc.s.Rollout.Status.CurrentPodHash, sc.plan.Hash = "newer", "newer"
				sc.deadline("new", now)
				sc.betweenSubsets(subsets("old", "old", 0), subsets("old", "old", 0))
				sc.resize("new", 0)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			broken, fine := atHalf(), atHalf()
			tt.broken(broken)
			tt.fine(fine)
			var rules []string
			for _, v := range invariant.Check(broken.s, broken.plan) {
				rules = append(rules, v.Rule)
			}
			assert.Contains(t, rules, tt.rule)
			assert.Empty(t, invariant.Check(fine.s, fine.plan))
		})
	}
}
