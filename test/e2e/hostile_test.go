package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// hostileConditions exhaust memory or spin for minutes when nothing bounds them.
var hostileConditions = []string{
	`len(reduce(1..30, #acc + #acc, "aaaaaaaaaa")) > 0`,
	`len(reduce(1..40, [#acc, #acc], 1)) > 0`,
	`toJSON(reduce(1..40, ({"a": #acc, "b": #acc}), 1)) != ""`,
	`all(1..100000, all(1..100000, true))`,
	`all(1..99999, all(1..999, all(1..999, true)))`,
	`len(1..1000000000) > 0`,
	`len(-9223372036854775807..9223372036854775807) > 0`,
	`len(map(1..100000, repeat("aaaaaaaaaa", 100000))) > 0`,
	`repeat(repeat(repeat("a", 1000000), 1000000), 1000000) == ""`,
	`repeat("a", 999999999) == ""`,
	`repeat("a", len(result) * 100000000) == ""`,
	`replace(repeat("a", 100000), "a", repeat("b", 100000)) == ""`,
	`join(map(1..100000, repeat("x", 10000)), repeat("y", 10000)) == ""`,
	`repeat("a", 100000) matches "(a*)*b(a{1000}){1}c{1000}d{1000}e{1000}f{1000}"`,
	`"x" matches "((a{30}){30}){30}{30}{30}"`,
	`len(groupBy(1..100000, repeat("a", # + 1000))) > 0`,
	`len(sortBy(1..100000, repeat("a", 100000))) > 0`,
	`len(uniq(1..100000)) > 0`,
	`let a = repeat("a", 1000000); let b = a+a+a+a+a+a+a+a; let c = b+b+b+b+b+b+b+b; c+c+c+c+c+c+c+c == ""`,
	`len(split(repeat("a", 10000000), "")) > 0`,
	`fromJSON(repeat("[", 1000000)) == nil`,
	`len(toBase64(toBase64(toBase64(toBase64(repeat("a", 20000000)))))) > 0`,
	`$env.result > 0`,
	strings.Repeat("(", 4000),
}

// Conditions that would exhaust a controller are refused one by one: it grows by
// less than one of them asks for, and another run is measured on meanwhile.
func TestHostileConditions(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "hostile"})
	c.Start(t)
	app := on.NewApp(t, c)
	run := func(name, condition, more string) {
		app.Apply(fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: AnalysisRun
metadata: {name: %s}
spec:
  metrics: [{name: m, consecutiveErrorLimit: 0, failureCondition: %q, provider: {prometheus: {address: %q, query: %q}}%s}]
`, name, condition, on.Metrics.URL(), app.Namespace, more))
	}
	run("honest", "result[0] > 5", ", interval: 1s")
	app.Await("the honest run is measured", func(w stage.World) bool { return measured(w, "honest") > 0 })
	before := c.PeakMemory(t)
	for i, condition := range hostileConditions {
		run(fmt.Sprintf("hostile-%d", i), condition, "")
	}
	for i := range hostileConditions {
		name := fmt.Sprintf("hostile-%d", i)
		w := app.Await(name+" is refused", func(w stage.World) bool {
			return w.Runs[name] != nil && w.Runs[name].Status.Phase.Completed()
		})
		assert.Equal(t, v1alpha1.AnalysisPhaseError, w.Runs[name].Status.Phase, hostileConditions[i])
	}
	grown := c.PeakMemory(t) - before
	assert.Less(t, grown>>20, int64(128), "MiB more at the peak")
	after := measured(app.Now(), "honest")
	app.Await("the honest run is still measured", func(w stage.World) bool { return measured(w, "honest") > after })
	t.Logf("%d conditions, %d MiB more at the peak", len(hostileConditions), grown>>20)
	app.Patch("AnalysisRun", "honest", `{"spec": {"terminate": true}}`)
}

func measured(w stage.World, run string) int {
	if r := w.Runs[run]; r != nil && len(r.Status.MetricResults) > 0 {
		return int(r.Status.MetricResults[0].Count)
	}
	return 0
}
