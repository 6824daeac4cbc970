package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

var on *stage.Stage

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	// As part of all tests there is nothing to do here.
	if !asked() {
		return m.Run()
	}
	var err error
	if on, err = stage.Open(context.Background(), stage.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := on.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// edits is how often the weights are edited by hand.
const edits = 20

// BenchmarkDriftRepair measures the time from a hand edit of the HTTPRoute's
// weights during a pause until they are right again, both as a watch sees them.
func BenchmarkDriftRepair(b *testing.B) {
	c := on.NewController(b, stage.ControllerOptions{Instance: "drift"})
	c.Start(b)
	app := on.NewApp(b, c)
	app.Deploy(stage.SetWeight(20), stage.Pause)
	app.Update("v2")
	app.Await("paused at 20", func(w stage.World) bool { return w.Paused(1, 20) })
	var took []time.Duration
	for b.Loop() {
		for i := range edits {
			weight := 30 + i
			app.PatchJSON("HTTPRoute", stage.AppName, fmt.Sprintf(`[
				{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": %d},
				{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": %d}]`, 100-weight, weight))
			app.Await("the edit is seen and repaired", func(stage.World) bool { return app.Repaired(weight, 20) > 0 })
			took = append(took, app.Repaired(weight, 20))
		}
	}
	b.ReportMetric(0, "ns/op") // meaningless here
	report(b, took)
}

// percentile of the times: the share of them that is not longer.
func percentile(took []time.Duration, share float64) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[min(len(took)-1, int(share*float64(len(took))))]
}

func report(b *testing.B, took []time.Duration) {
	b.ReportMetric(float64(percentile(took, 0.5).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(percentile(took, 0.99).Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(len(took)), "edits")
}

// BenchmarkUpdate counts what an update with four weights and an analysis asks
// of the API server and of plugins.
func BenchmarkUpdate(b *testing.B) {
	c := on.NewController(b, stage.ControllerOptions{Instance: "update"})
	c.Start(b)
	app := on.NewApp(b, c)
	app.Deploy(stage.SetWeight(10), stage.ShortPause, stage.Analysis, stage.SetWeight(25), stage.SetWeight(50), stage.SetWeight(100))
	updates := 0
	before := c.Counters(b)
	for b.Loop() {
		updates++
		version := fmt.Sprintf("b%d", updates)
		app.Update(version)
		app.Await(version+" is healthy and alone", func(w stage.World) bool { return w.Healthy(version) && w.Status().Replicas == 4 })
	}
	moved := c.Counters(b).Since(before)
	require.Empty(b, moved.Violations)
	b.ReportMetric(0, "ns/op")
	for name, counted := range map[string]map[string]float64{
		"api-writes/update": moved.Writes, "api-reads/update": moved.Reads, "plugin-calls/update": moved.Calls, "passes/update": moved.Passes,
	} {
		b.ReportMetric(total(counted)/float64(updates), name)
		fmt.Printf("%s: %s\n", name, list(counted, updates))
	}
}

func total(counted map[string]float64) (sum float64) {
	for _, n := range counted {
		sum += n
	}
	return sum
}

// list are the counts of one update, the largest first.
func list(counted map[string]float64, updates int) string {
	type entry struct {
		what string
		n    float64
	}
	var all []entry
	for what, n := range counted {
		all = append(all, entry{what, n / float64(updates)})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.what, b.what)) })
	out := ""
	for _, e := range all {
		out += fmt.Sprintf(" %s %.1f;", e.what, e.n)
	}
	return out
}
