package sim_test

import (
	"math/rand"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// TestRandom plays random clusters with traffic routing in random order. A
// failure prints the seed; SLUICE_SIM_SEED=<seed> plays that one alone and tells
// the whole story, SLUICE_SIM_SEEDS=<n> plays n of them, from SLUICE_SIM_FIRST
// on (1).
func TestRandom(t *testing.T) { playRandom(t, sim.Random) }

// TestRandomBasic is TestRandom for canaries without traffic routing.
func TestRandomBasic(t *testing.T) { playRandom(t, sim.RandomBasic) }

// TestRandomSubsets is TestRandom with a router that splits between subsets.
func TestRandomSubsets(t *testing.T) { playRandom(t, sim.RandomSubsets) }

type world func(seed int64) (*sim.World, *rand.Rand)

func playRandom(t *testing.T, random world) {
	t.Helper()
	if text := os.Getenv("SLUICE_SIM_SEED"); text != "" {
		seed := number(t, text)
		w := random.play(seed)
		t.Logf("seed %d\n%s", seed, w.Story())
		if w.Err != nil {
			text, err := yaml.Marshal(w.Rollout())
			require.NoError(t, err)
			t.Fatalf("%v\n%s", w.Err, text)
		}
		return
	}
	seeds := int64(200)
	if text := os.Getenv("SLUICE_SIM_SEEDS"); text != "" {
		seeds = number(t, text)
	}
	first := int64(1)
	if text := os.Getenv("SLUICE_SIM_FIRST"); text != "" {
		first = number(t, text)
	}
	var passes, writes, soft, restarts, failed int
	for seed := first; seed < first+seeds; seed++ {
		w := random.play(seed)
		passes, writes, soft, restarts = passes+w.Passes, writes+w.Writes, soft+w.Soft, restarts+w.Restarts
		if w.Err != nil {
			t.Errorf("seed %d: %v", seed, w.Err)
			if failed++; failed == 10 {
				t.Fatal("10 seeds failed; SLUICE_SIM_SEED=<seed> tells the story of one")
			}
		}
	}
	t.Logf("%d seeds, %d passes, %d writes, %d restarts, %d writes that were right only on what the caches showed",
		seeds, passes, writes, restarts, soft)
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%q is not a number", text)
	}
	return n
}

func (random world) play(seed int64) *sim.World {
	w, r := random(seed)
	for range 1 + r.Intn(4) {
		if r.Intn(2) == 0 { // an update is under way when it begins
			w.Rest()
			w.Deploy("v" + strconv.Itoa(1+r.Intn(4)))
		}
		w.Chaos(r, 100+r.Intn(400))
		w.Heal()
		w.Rest()
		w.CheckRest()
	}
	w.Finish()
	return w
}
