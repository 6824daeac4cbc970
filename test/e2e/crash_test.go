package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/crashing"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// at20 brings v2 to 20 % and a pause.
func at20(a *stage.App) {
	a.Update("v2")
	a.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
}

func deployed(steps ...string) func(*stage.App) {
	return func(a *stage.App) { a.Deploy(steps...) }
}

func resume(a *stage.App) { a.PatchStatus(`{"status": {"pauseConditions": null}}`) }

func done(version, old string) func(stage.World) bool {
	return func(w stage.World) bool { return w.Healthy(version) && w.Wanted(old) == 0 }
}

// crashes are the stories that every write of the controller is put at risk in.
var crashes = slices.Concat(crashesOfCanaries, crashesOfStrategies)

var crashesOfCanaries = []crashing.Scenario{
	{Name: "creation",
		Play:  func(a *stage.App) { a.Apply(stage.RolloutYAML(stage.SetWeight(20), stage.Pause)) },
		Ended: func(w stage.World) bool { return w.Healthy("v1") }},
	{Name: "canary with weights and pauses",
		Deploy: deployed(stage.SetWeight(20), stage.ShortPause, stage.SetWeight(50), stage.ShortPause),
		Play:   func(a *stage.App) { a.Update("v2") },
		Ended:  done("v2", "v1")},
	{Name: "inline analysis",
		Deploy: deployed(stage.SetWeight(20), stage.Analysis),
		Play:   func(a *stage.App) { a.Update("v2") },
		Ended:  done("v2", "v1")},
	{Name: "abort at 20",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play:   func(a *stage.App) { at20(a); a.PatchStatus(`{"status": {"abort": true}}`) },
		Ended:  func(w stage.World) bool { return w.Aborted("v2", "v1") }},
	{Name: "retry after an abort",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play: func(a *stage.App) {
			at20(a)
			a.PatchStatus(`{"status": {"abort": true}}`)
			a.Await("aborted", func(w stage.World) bool { return w.Aborted("v2", "v1") })
			a.PatchStatus(`{"status": {"abort": false}}`)
			a.Await("paused at 20 again", func(w stage.World) bool { return w.Paused(1, 20) })
			resume(a)
		},
		Ended: done("v2", "v1")},
	{Name: "superseded at 20",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play: func(a *stage.App) {
			at20(a)
			a.Update("v3")
			a.Await("v3 at 20", func(w stage.World) bool { return w.Paused(1, 20) && w.Selects(stage.CanaryService) == w.Hash("v3") })
			resume(a)
		},
		Ended: func(w stage.World) bool { return done("v3", "v1")(w) && w.Wanted("v2") == 0 }},
	{Name: "rollback at 20",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play:   func(a *stage.App) { at20(a); a.Update("v1") },
		Ended:  done("v1", "v2")},
	{Name: "full promotion",
		Deploy: deployed(stage.SetWeight(20), stage.Pause, stage.SetWeight(40), stage.Pause),
		Play:   func(a *stage.App) { at20(a); a.PatchStatus(`{"status": {"promoteFull": true}}`) },
		Ended:  done("v2", "v1")},
	{Name: "scaled at 20",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play: func(a *stage.App) {
			at20(a)
			a.PatchRollout(`{"spec": {"replicas": 6}}`)
			a.Await("stable follows", func(w stage.World) bool { return w.Wanted("v1") == 6 })
			resume(a)
		},
		Ended: done("v2", "v1")},
	{Name: "deleted and created again",
		Deploy: deployed(stage.SetWeight(20), stage.Pause),
		Play: func(a *stage.App) {
			at20(a)
			a.Delete("Rollout", stage.AppName)
			a.Await("gone", func(w stage.World) bool { return w.Rollout.UID == "" && len(w.Sets) == 0 })
			a.Apply(stage.RolloutYAML(stage.SetWeight(20), stage.Pause))
		},
		Ended: func(w stage.World) bool { return w.Healthy("v1") }},
	{Name: "experiment",
		Play: func(a *stage.App) {
			a.Apply(experimentYAML(strings.Replace(analysedByErrors, "name: check", "name: check, requiredForCompletion: true", 1)))
		},
		Ended: func(w stage.World) bool { return phase(w, v1alpha1.AnalysisPhaseSuccessful) && wound(w) }},
}

// TestCrashes puts the writes of the controller at risk, one a run: it dies
// before it or right after it, is told that it failed, or never hears that it
// succeeded. Every run ends like the one without a fault.
//
// As part of all tests it plays two faults of each story but the last ones; with
// SLUICE_E2E all of them, in random order, for SLUICE_CRASH_MINUTES (15). SLUICE_CRASH_PART=2/8 is
// the second of eight parts of the stories' faults, so that all can be played in
// pieces; SLUICE_CRASH_SEED makes the order the same, and SLUICE_CRASH_STORIES, a
// regular expression, chooses stories.
func TestCrashes(t *testing.T) {
	seed, minutes := uint64(time.Now().UnixNano()), 15.0
	var err error
	if s := os.Getenv("SLUICE_CRASH_SEED"); s != "" {
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "SLUICE_CRASH_SEED")
	}
	if s := os.Getenv("SLUICE_CRASH_MINUTES"); s != "" {
		minutes, err = strconv.ParseFloat(s, 64)
		require.NoError(t, err, "SLUICE_CRASH_MINUTES")
	}
	if os.Getenv("SLUICE_E2E") != "" {
		buildForCrashes(t)
		crashes = append(crashes, crashesOfSteps...)
	}
	if text := os.Getenv("SLUICE_CRASH_STORIES"); text != "" {
		chosen := regexp.MustCompile(text)
		crashes = slices.DeleteFunc(crashes, func(s crashing.Scenario) bool { return !chosen.MatchString(s.Name) })
	}
	all := planned(t)
	plans := len(all)
	if text := os.Getenv("SLUICE_CRASH_PART"); text != "" {
		all = part(t, all, text)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	total := &tally{end: time.Now().Add(time.Duration(minutes * float64(time.Minute)))}
	if os.Getenv("SLUICE_E2E") == "" {
		all = perStory(all, 2)
	}
	t.Run("faults", func(t *testing.T) {
		for _, p := range all {
			t.Run(p.name(), func(t *testing.T) {
				t.Parallel()
				total.play(t, p)
			})
		}
	})
	n, err := crashing.Violations()
	require.NoError(t, err)
	assert.Zero(t, n, "plans that broke an invariant")
	fmt.Printf("crashes: stories %d, plans %d, chosen %d, no time for %d, fired %d, survived %d, seed %d\n",
		len(crashes), plans, len(all), total.late.Load(), total.fired.Load(), total.survived.Load(), seed)
}

// plannedCrash is one run that has a fault, and the end it must come to.
type plannedCrash struct {
	story crashing.Scenario
	plan  crashing.Plan
	want  string
}

func (p plannedCrash) name() string {
	return strings.ReplaceAll(p.story.Name, " ", "-") + "/" + p.plan.String()
}

// planned plays every story without a fault and plans a fault of each kind for
// each of its writes.
func planned(t *testing.T) []plannedCrash {
	results := make([]crashing.Result, len(crashes))
	t.Run("without a fault", func(t *testing.T) {
		for i, s := range crashes {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				results[i] = crashing.Run(t, on, s, crashing.Plan{}, "")
			})
		}
	})
	var all []plannedCrash
	for i, result := range results {
		require.NotEmpty(t, result.State, crashes[i].Name)
		for write := 1; write <= len(result.Writes); write++ {
			for _, kind := range crashing.Kinds {
				all = append(all, plannedCrash{crashes[i], crashing.Plan{Write: write, Kind: kind}, result.State})
			}
		}
	}
	return all
}

// part is one part of n of all, e.g. "2/8": every n-th fault, so that each part
// has some of each story.
func part(t *testing.T, all []plannedCrash, text string) (out []plannedCrash) {
	var i, n int
	_, err := fmt.Sscanf(text, "%d/%d", &i, &n)
	require.NoError(t, err, "SLUICE_CRASH_PART is like 2/8")
	require.True(t, 1 <= i && i <= n, "SLUICE_CRASH_PART is like 2/8")
	for at := i - 1; at < len(all); at += n {
		out = append(out, all[at])
	}
	return out
}

// perStory are the first n plans of each story.
func perStory(all []plannedCrash, n int) []plannedCrash {
	var out []plannedCrash
	taken := map[string]int{}
	for _, p := range all {
		if taken[p.story.Name]++; taken[p.story.Name] <= n {
			out = append(out, p)
		}
	}
	return out
}

// tally counts runs; after its end no more begin.
type tally struct {
	end                   time.Time
	late, fired, survived atomic.Int32
}

func (c *tally) play(t *testing.T, p plannedCrash) {
	if time.Now().After(c.end) {
		c.late.Add(1)
		return
	}
	result := crashing.Run(t, on, p.story, p.plan, p.want)
	if result.Fired == "" {
		t.Logf("the story took %d writes this time: nothing happened to write %d", len(result.Writes), p.plan.Write)
		return
	}
	c.fired.Add(1)
	if !t.Failed() {
		c.survived.Add(1)
	}
}
