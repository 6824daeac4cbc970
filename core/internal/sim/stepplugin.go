package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// StepPlugin is one step plugin of the simulated host, with the system behind it.
type StepPlugin struct {
	// Missing plugins are not in the catalog, Disabled ones are switched off.
	Missing, Disabled bool
	// Takes is how long an operation runs before Verdict ends it.
	Takes time.Duration
	// Verdict of every Run; "" is Successful.
	Verdict rollout.StepPhase
	// Errors makes the next calls answer that the system behind failed.
	Errors int
	// Requeue is what the plugin asks for while it runs.
	Requeue time.Duration

	operations map[string]*operation
}

// operation is what the system behind a plugin knows by an operation id.
type operation struct {
	began     time.Time
	run       rollout.StepPhase
	undone    bool
	stopped   bool
	told      bool // to end, whatever came of it
	lost      bool // it had to end while nobody could be told
	callsOfIt int
}

// observeSteps says which step plugins cannot be asked.
func (w *World) observeSteps(ro *v1alpha1.Rollout) map[string]rollout.Problem {
	out := map[string]rollout.Problem{}
	for _, name := range rollout.StepPluginNames(ro) {
		if p := w.StepPlugins[name]; p == nil || p.Missing {
			out[name] = rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable,
				Message: fmt.Sprintf("step plugin %q is not installed; add it to the catalog", name)}
		}
	}
	return out
}

// callStep plays the host: the plugin finds its operation by the id, so that a
// call that is repeated after a crash starts nothing twice.
func (w *World) callStep(o rollout.CallStep, out *rollout.Outcome) error {
	c := o.Call
	if !w.unjudged {
		w.judgeCall(c)
	}
	plugin := w.StepPlugins[c.Plugin]
	if plugin == nil || plugin.Missing {
		return &rollout.Problem{Class: rollout.ProblemUnavailable, Reason: v1alpha1.ReasonPluginUnavailable, Message: "step plugin " + c.Plugin + " is not installed"}
	}
	answer := plugin.answer(w.now, w.begun(c), c)
	w.writer = byController
	w.journal.add(w, "step    %s %s of step %d: %s", c.Plugin, c.Verb, c.Index+1, describeAnswer(answer))
	w.writer = byCluster
	out.Steps[o.ID()] = answer
	return nil
}

func describeAnswer(a rollout.StepAnswer) string {
	if a.Disabled {
		return "switched off"
	}
	return string(a.Phase)
}

// begun is when an operation that the plugin does not remember began: now, or
// what status says when this World did not see it begin.
func (w *World) begun(c rollout.StepCall) time.Time {
	for _, e := range w.Rollout().Status.Canary.StepPluginStatuses {
		if w.unjudged && e.Index == c.Index && string(e.Operation) == string(c.Verb) && e.StartedAt != nil && e.Executions > 0 {
			return e.StartedAt.Time
		}
	}
	return w.now
}

func (p *StepPlugin) answer(now, began time.Time, c rollout.StepCall) rollout.StepAnswer {
	if op := p.operations[c.OperationID]; op != nil {
		op.told = op.told || !p.Disabled && c.Verb != rollout.StepRun
		op.lost = op.lost || p.Disabled // whoever switches it off looks after what it does
	}
	if p.Disabled {
		return rollout.StepAnswer{Disabled: true}
	}
	if p.Errors > 0 {
		p.Errors--
		return rollout.StepAnswer{Phase: rollout.StepError, Message: "the system behind does not answer"}
	}
	if p.operations == nil {
		p.operations = map[string]*operation{}
	}
	op := p.operations[c.OperationID]
	if op == nil {
		op = &operation{began: began, run: rollout.StepRunning}
		p.operations[c.OperationID] = op
	}
	op.callsOfIt++
	state, _ := json.Marshal(map[string]int{"calls": op.callsOfIt})
	switch c.Verb {
	case rollout.StepTerminate:
		op.stopped = true
		return rollout.StepAnswer{Phase: rollout.StepSuccessful, State: state}
	case rollout.StepAbort:
		op.undone = true
		return rollout.StepAnswer{Phase: rollout.StepSuccessful, State: state}
	}
	if now.Before(op.began.Add(p.Takes)) {
		return rollout.StepAnswer{Phase: rollout.StepRunning, RequeueAfter: p.Requeue, State: state}
	}
	op.run = rollout.StepSuccessful
	if p.Verdict != "" {
		op.run = p.Verdict
	}
	return rollout.StepAnswer{Phase: op.run, State: state, Message: map[rollout.StepPhase]string{rollout.StepFailed: "the smoke test failed"}[op.run]}
}

// judgeCall: what happens outside the API server was meant by the API server
// first, and a step is run only while it is the current one.
func (w *World) judgeCall(c rollout.StepCall) {
	ro := w.Rollout()
	meant := false
	for _, e := range ro.Status.Canary.StepPluginStatuses {
		meant = meant || e.Index == c.Index && string(e.Operation) == string(c.Verb)
	}
	if !meant {
		w.broken("S16", "%s of step %d is called before status says so", c.Verb, c.Index)
	}
	if c.Verb == rollout.StepRun && (ro.Status.Abort || at(ro.Status.CurrentStepIndex) != int(c.Index)) {
		w.broken("S16", "step %d is run at step %d, abort %v", c.Index, at(ro.Status.CurrentStepIndex), ro.Status.Abort)
	}
}

// lose remembers what was under way at plugins that are not installed when an
// update, or an attempt at it, is over: no update waits for them.
func (w *World) lose(before, after v1alpha1.RolloutStatus) {
	if before.CurrentPodHash == after.CurrentPodHash && before.Canary.StepPluginAttempt == after.Canary.StepPluginAttempt {
		return
	}
	for _, p := range w.StepPlugins {
		for _, op := range p.operations {
			op.lost = op.lost || p.Missing
		}
	}
}

// leftRunning names an operation that nobody ended, other than that of the step
// the Rollout is at; "" when there is none. One of a superseded update is told
// once, if anybody is there to be told.
func (w *World) leftRunning() string {
	st := w.Rollout().Status
	update, attempt := "/"+st.CurrentPodHash+"/", fmt.Sprintf("/%d", st.Canary.StepPluginAttempt)
	current := fmt.Sprintf("%s%d/", update, at(st.CurrentStepIndex))
	for _, name := range sortedKeys(w.StepPlugins) {
		for _, id := range sortedKeys(w.StepPlugins[name].operations) {
			if op := w.StepPlugins[name].operations[id]; op.run == rollout.StepRunning && !op.stopped && !op.undone && !op.lost && !strings.Contains(id, current) &&
				!(op.told && !(strings.Contains(id, update) && strings.HasSuffix(id, attempt))) {
				return name + " " + id
			}
		}
	}
	return ""
}
