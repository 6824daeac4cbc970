package decide_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/invariant"
	"github.com/sluice-rollouts/sluice/core/internal/record"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// FuzzDecide is TestDecideOnAnything and TestDecideIsSafe driven by coverage: the
// bytes are the choices that make the snapshot. Those given here run with all
// tests; `make fuzz` looks for more.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(16) {
		choices := make([]byte, 4096) // enough for a whole snapshot
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range choices {
			choices[i] = byte(r.Uint32())
		}
		f.Add(choices)
	}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		s := anySnapshot(t)
		plan := decide.Decide(s)
		require.Equal(t, plan, decide.Decide(s), "deciding twice")
		for _, v := range invariant.Check(s, plan) {
			require.NotEqual(t, "I1", v.Rule, v.Error())
		}
		_ = record.Of(s, plan, done(plan))
		_ = record.Of(s, plan, rollout.Outcome{})
		sensible := sensibleSnapshot(t)
		require.Empty(t, invariant.Check(sensible, decide.Decide(sensible)))
	}))
}

// FuzzSnapshot decides on whatever JSON can say: a Rollout and a ReplicaSet that
// no generator would make up.
func FuzzSnapshot(f *testing.F) {
	for _, seed := range []string{
		`{}`,
		`{"Rollout":{"spec":{"replicas":2147483647,"strategy":{"canary":{"steps":[{"setWeight":2147483647}],"maxSurge":"1000000000%"}}}}}`,
		`{"Rollout":{"spec":{"replicas":-1,"strategy":{"blueGreen":{"activeService":"a","autoPromotionSeconds":-5}}},"status":{"stableRS":"x","currentStepIndex":-7}}}`,
		`{"Rollout":{"spec":{"strategy":{"canary":{"trafficRouting":{"maxTrafficWeight":-3,"plugins":{"r":null}},"steps":[{"pause":{"duration":"1e400"}},{"plugin":{"name":""}}]}}}},
			"ReplicaSets":[{"metadata":{"name":"x","labels":{"rollouts-pod-template-hash":"x"}},"status":{"availableReplicas":-4}}],
			"Routers":[{"Plugin":"r","Observation":{"Observed":[{"Traffic":{"TotalWeight":0,"Destinations":[{"Role":"canary","Weight":2147483647}]}}]}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &rollout.Snapshot{}
		if json.Unmarshal(raw, s) != nil || s.Rollout == nil || holed(s) {
			t.Skip("no snapshot that observe could make")
		}
		if s.Services == nil {
			s.Services = map[string]*corev1.Service{}
		}
		plan := decide.Decide(s)
		require.Equal(t, plan, decide.Decide(s), "deciding twice")
		_ = invariant.Check(s, plan)
		_ = record.Of(s, plan, done(plan))
	})
}

// holed: observe never puts nil into its lists.
func holed(s *rollout.Snapshot) bool {
	for _, rs := range s.ReplicaSets {
		if rs == nil {
			return true
		}
	}
	for _, run := range s.AnalysisRuns {
		if run == nil {
			return true
		}
	}
	for _, ex := range s.Experiments {
		if ex == nil {
			return true
		}
	}
	for _, svc := range s.Services {
		if svc == nil {
			return true
		}
	}
	for _, t := range s.Templates {
		if t == nil {
			return true
		}
	}
	for _, t := range s.ClusterTemplates {
		if t == nil {
			return true
		}
	}
	return false
}
