package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

// routerKinds are routers of which different things are known after a crash.
var routerKinds = []struct {
	name string
	is   func(*sim.Plugin)
}{
	{"observed", func(*sim.Plugin) {}},
	{"outside the API", func(p *sim.Plugin) { p.External = true }},
	{"not observable", func(p *sim.Plugin) { p.Blind = true }},
	{"silent about convergence", func(p *sim.Plugin) { p.Silent, p.Settle = true, 2*time.Second }},
}

// TestSomebodyActsWhileTheControllerDies: the process dies before each of its
// writes, the status that tells what a router was asked for among them, and at
// the same moment somebody wants something else. What was asked for and not
// written down still counts.
func TestSomebodyActsWhileTheControllerDies(t *testing.T) {
	for _, kind := range routerKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			play := func(o sim.Options) (w *sim.World, from int) {
				w = sim.New(o)
				w.Prepare()
				kind.is(w.Plugins[sim.RouterPlugin])
				running(w, "v1", half())
				from = w.Writes + 1
				w.Deploy("v2")
				w.Finish()
				return w, from
			}
			alone, from := play(sim.Options{})
			require.NoError(t, alone.Err, alone.Story())
			for at := from; at <= alone.Writes; at++ {
				for _, act := range acts[:3] { // none that lasts: a process that dies does not run on
					again, _ := play(sim.Options{CrashBefore: at, InterruptAt: at, Interrupt: act.do})
					require.NoError(t, again.Err, "the controller dies before write %d, somebody %s\n%s", at, act.what, again.Story())
				}
			}
		})
	}
}
