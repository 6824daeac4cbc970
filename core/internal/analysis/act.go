package analysis

import "github.com/sluice-rollouts/sluice/core/api/v1alpha1"

// Act starts the calls of a plan whose status is written, and forgets the
// results that status now holds. It does not wait for anything. The run is
// shared with the calls: nobody modifies it.
func (c *Calls) Act(run *v1alpha1.AnalysisRun, p Plan) {
	c.Done(keyOf(run), p.Used)
	for _, op := range p.Ops {
		if op.Verb == VerbCollect {
			c.collect(run, op)
			continue
		}
		c.start(run, op)
	}
}
