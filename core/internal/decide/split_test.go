package decide

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestIdealSplit: which ratio of pods comes nearest to a weight (§11.1,
// ApproximateWeightedNewStableReplicaCounts).
func TestIdealSplit(t *testing.T) {
	type split = [2]int64
	for _, tc := range []struct {
		replicas, surge int64
		want            map[split][]int64 // canary and stable pods by weight
	}{
		{0, 0, map[split][]int64{{0, 0}: {0, 50, 100}}},
		{0, 1, map[split][]int64{{0, 0}: {0, 50, 100}}},
		{1, 0, map[split][]int64{{0, 1}: {0, 1, 49}, {1, 0}: {50, 99, 100}}},
		{1, 1, map[split][]int64{{0, 1}: {0}, {1, 1}: {1, 49, 50, 99}, {1, 0}: {100}}},
		{2, 0, map[split][]int64{{0, 2}: {0}, {1, 1}: {1, 50, 99}, {2, 0}: {100}}},
		{2, 1, map[split][]int64{{0, 2}: {0}, {1, 2}: {1}, {1, 1}: {50}, {2, 1}: {99}, {2, 0}: {100}}},
		{3, 0, map[split][]int64{{1, 2}: {10, 25, 33, 34, 49}, {2, 1}: {50}}},
		{3, 1, map[split][]int64{{1, 3}: {10, 25}, {1, 2}: {33, 34}, {2, 2}: {49, 50}}},
		{10, 0, map[split][]int64{{1, 9}: {1, 14}, {2, 8}: {15, 16}, {9, 1}: {99}}},
		{10, 1, map[split][]int64{{0, 10}: {0}, {1, 10}: {1}, {2, 9}: {18, 19}, {2, 8}: {20, 23}, {3, 8}: {24, 25},
			{10, 1}: {99}, {10, 0}: {100}}},
	} {
		for want, weights := range tc.want {
			for _, weight := range weights {
				canary, stable := idealSplit(tc.replicas, weight, 100, tc.surge)
				assert.Equal(t, want, split{canary, stable}, "%d replicas, surge %d, weight %d", tc.replicas, tc.surge, weight)
			}
		}
	}
}

// TestIdealSplitIsNear: every size and weight has a split, and it is off by less
// than a pod unless each revision has to have one.
func TestIdealSplitIsNear(t *testing.T) {
	for replicas := int64(0); replicas <= 60; replicas++ {
		for weight := int64(0); weight <= 100; weight++ {
			for surge := range int64(3) {
				canary, stable := idealSplit(replicas, weight, 100, surge)
				total := canary + stable
				off := max(canary*100-weight*total, weight*total-canary*100)
				if total < replicas || total > replicas+min(surge, 1) || canary < 0 || stable < 0 || off >= 100 {
					t.Fatalf("%d replicas, weight %d, surge %d: %d/%d", replicas, weight, surge, canary, stable)
				}
			}
		}
	}
}

// TestLowerable: what counts as serving when pods are taken away (§11.1,
// GetReplicasForScaleDown).
func TestLowerable(t *testing.T) {
	assert.Equal(t, int64(0), pods{}.lowerable(false))
	assert.Equal(t, int64(3), pods{3, 5}.lowerable(false), "pods beyond the wanted number are going away")
	assert.Equal(t, int64(2), pods{3, 2}.lowerable(false))
	assert.Equal(t, int64(3), pods{3, 2}.lowerable(true))
}

// TestNextSplitStaysInBounds: from anywhere, no move raises the pods above the
// ceiling or takes an available pod that the floor needs, and moves that pods
// follow come to an end.
func TestNextSplitStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 20)
		replicas, surge := n.Draw(t, "replicas"), n.Draw(t, "surge")
		unavailable := rapid.Int64Range(0, replicas).Draw(t, "unavailable")
		if surge == 0 && unavailable == 0 {
			unavailable = min(1, replicas)
		}
		b := bounds{replicas + surge, replicas - unavailable}
		draw := func(name string) pods {
			count := n.Draw(t, name)
			return pods{count, rapid.Int64Range(0, count).Draw(t, name+" available")}
		}
		canary, stable := draw("canary"), draw("stable")
		idealCanary, idealStable := idealSplit(replicas, rapid.Int64Range(0, 100).Draw(t, "weight"), 100, surge)
		for range 200 {
			c, s := nextSplit(canary, stable, 0, idealCanary, idealStable, b)
			if c > canary.count || s > stable.count {
				require.LessOrEqual(t, max(c, canary.count)+max(s, stable.count), b.ceiling, "%d/%d", c, s)
			}
			before, after := canary.available+stable.available, min(c, canary.available)+min(s, stable.available)
			require.GreaterOrEqual(t, after, min(before, b.floor), "%d/%d", c, s)
			if c == canary.count && s == stable.count && canary.available == c && stable.available == s {
				require.Equal(t, [2]int64{idealCanary, idealStable}, [2]int64{c, s})
				return
			}
			canary, stable = pods{c, c}, pods{s, s} // all pods come up
		}
		t.Fatalf("no end: canary %v, stable %v, ideal %d/%d", canary, stable, idealCanary, idealStable)
	})
}
