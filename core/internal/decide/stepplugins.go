package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stepPlugins asks the plugin of the current step, takes steps back after an
// abort, and ends those that nobody waits for any more. An entry in status comes
// before the first call of its operation: it is the intent.
func (p *planner) stepPlugins() {
	switch {
	case p.moved():
		// The next pass sees where the update is then.
	case p.aborted() || p.ro.Status.AbortedAt != nil:
		p.undo()
	default:
		p.terminate(p.unwanted)
		if step := p.step(); p.running(step) {
			p.runPlugin(*step.Plugin)
		}
	}
}

// running reports that the current step is a plugin's and that it may be asked.
func (p *planner) running(step *v1alpha1.CanaryStep) bool {
	return step != nil && step.Plugin != nil && p.moving() && !p.aborted() && !p.hurried() &&
		!p.veto && !p.halted() && len(p.ro.Status.PauseConditions) == 0
}

// pluginDone reports whether the plugin has done the current step. One that
// failed gives up the update.
func (p *planner) pluginDone(step v1alpha1.PluginStep) bool {
	e := p.stepEntry(int32(p.index), v1alpha1.StepPluginOperationRun)
	switch {
	case e == nil:
	case e.Disabled, e.Phase == v1alpha1.StepPluginPhaseSuccessful:
		return true
	case e.Phase == v1alpha1.StepPluginPhaseFailed:
		p.move(rollout.Transition{Kind: rollout.TransitionAbort, Index: p.restart(),
			Message: fmt.Sprintf("Step Plugin %d (%s) failed: %s", p.index+1, step.Name, e.Message)})
		return false
	}
	p.hold(rollout.Hold{Reason: rollout.HoldWaitingForStep, What: fmt.Sprintf("step %s waits for plugin %s", p.stepName(), step.Name),
		EndedBy: "the plugin being done"})
	return false
}

func (p *planner) runPlugin(step v1alpha1.PluginStep) {
	e := p.stepEntry(int32(p.index), v1alpha1.StepPluginOperationRun)
	if e == nil {
		p.begin(int32(p.index), step.Name, v1alpha1.StepPluginOperationRun)
		return
	}
	p.call(*e, nil)
}

// undo takes back every step of the aborted update that a plugin has done, or
// may have done, the latest first. It is repeated until the plugin has an
// answer.
func (p *planner) undo() {
	for _, run := range slices.Backward(p.ro.Status.Canary.StepPluginStatuses) {
		if undoable(run) {
			p.wind(run, v1alpha1.StepPluginOperationAbort)
		}
	}
}

// undoable: a plugin has done the step, or may have.
func undoable(e v1alpha1.StepPluginStatus) bool {
	return e.Operation == v1alpha1.StepPluginOperationRun && !e.Disabled && e.Phase != v1alpha1.StepPluginPhaseFailed
}

// untold reports that a plugin which is there was never asked to take back its
// step of the aborted update. A retry and a new revision wait for that one call:
// status forgets the step with them. They wait for no answer, and for no plugin
// that is gone.
func (p *planner) untold() bool {
	return slices.ContainsFunc(p.ro.Status.Canary.StepPluginStatuses, func(run v1alpha1.StepPluginStatus) bool {
		if _, away := p.s.StepPlugins[run.Name]; away || !undoable(run) {
			return false
		}
		e := p.stepEntry(run.Index, v1alpha1.StepPluginOperationAbort)
		return e == nil || !e.Disabled && e.Executions == 0
	})
}

// terminate ends running steps that nobody waits for any more.
func (p *planner) terminate(unwanted func(v1alpha1.StepPluginStatus) bool) {
	for _, run := range p.ro.Status.Canary.StepPluginStatuses {
		if run.Operation == v1alpha1.StepPluginOperationRun && unfinished(run) && unwanted(run) {
			p.wind(run, v1alpha1.StepPluginOperationTerminate)
		}
	}
}

// unwanted: the step was skipped, by a person or by a full promotion.
func (p *planner) unwanted(run v1alpha1.StepPluginStatus) bool {
	return p.promoted() || p.hurried() || run.Index != int32(p.index)
}

// superseded reports that a step of the update that is being replaced still runs
// and has not been told to end, or one of an aborted update to be taken back. It
// is told once; the update does not wait for more.
func (p *planner) superseded() bool {
	before := len(p.plan.Ops)
	if p.ro.Status.AbortedAt != nil {
		if p.untold() {
			p.undo()
		}
		return len(p.plan.Ops) > before
	}
	p.terminate(func(run v1alpha1.StepPluginStatus) bool {
		e := p.stepEntry(run.Index, v1alpha1.StepPluginOperationTerminate)
		return e == nil || e.Executions == 0
	})
	return len(p.plan.Ops) > before
}

// unfinished: an operation whose last answer may not be the end of it.
func unfinished(e v1alpha1.StepPluginStatus) bool {
	return !e.Disabled && (e.Phase == v1alpha1.StepPluginPhaseRunning || e.Phase == v1alpha1.StepPluginPhaseError)
}

// wind begins or goes on with the operation that ends a run.
func (p *planner) wind(run v1alpha1.StepPluginStatus, operation v1alpha1.StepPluginOperation) {
	e := p.stepEntry(run.Index, operation)
	switch {
	case e == nil:
		p.begin(run.Index, run.Name, operation)
	case unfinished(*e):
		p.call(*e, run.Status)
	}
}

// begin writes the intent; the call follows in a later pass.
func (p *planner) begin(index int32, name string, operation v1alpha1.StepPluginOperation) {
	now := metav1.NewTime(p.s.Now.Truncate(time.Second))
	p.plan.StepPlugins = append(p.plan.StepPlugins, v1alpha1.StepPluginStatus{Index: index, Name: name, Operation: operation,
		Phase: v1alpha1.StepPluginPhaseRunning, StartedAt: &now})
	p.add(rollout.RecordIntent{Identity: rollout.Identity{OpID: opStep("intent", index, operation)},
		What: fmt.Sprintf("%s of step %d by plugin %s", operation, index+1, name)})
}

// call asks the plugin unless it is too early, or nobody is there to be asked.
// The first call of an operation that ends a run is handed the run's state.
func (p *planner) call(e v1alpha1.StepPluginStatus, state json.RawMessage) {
	if _, away := p.s.StepPlugins[e.Name]; away {
		return // held already
	}
	if at := nextCall(e); p.s.Now.Before(at) {
		soon := at
		if p.s.StepObjectsChanged && e.Phase == v1alpha1.StepPluginPhaseRunning {
			// At most once a second, so that a step that changes its object in
			// each answer does not spin.
			soon = e.UpdatedAt.Add(time.Second)
		}
		if p.s.Now.Before(soon) {
			p.wake(soon)
			return
		}
	}
	if e.Status != nil {
		state = e.Status
	}
	p.add(rollout.CallStep{
		Identity: rollout.Identity{OpID: opStep("step", e.Index, e.Operation)},
		Call: rollout.StepCall{
			Target: rollout.Block{}.Target(p.ro), Plugin: e.Name, Verb: rollout.StepVerb(e.Operation), Index: e.Index,
			OperationID: p.operation(e.Index), Config: p.stepConfig(e), State: state,
		},
	})
}

// nextCall is the end of the backoff. Status keeps whole seconds, so a second
// more is never early.
func nextCall(e v1alpha1.StepPluginStatus) time.Time {
	backoff, err := e.Backoff.Duration()
	if err != nil || e.UpdatedAt == nil {
		return time.Time{}
	}
	return e.UpdatedAt.Add(backoff + time.Second)
}

// operation is the same for all calls about one execution of a step, and never
// used again: a retry counts as another attempt.
func (p *planner) operation(index int32) string {
	return fmt.Sprintf("%s/%s/%d/%d", p.ro.UID, p.ro.Status.CurrentPodHash, index, p.ro.Status.Canary.StepPluginAttempt)
}

// stepConfig is the user's block. Where the steps were edited since, a plugin of
// another name is there by now, and the operation has to be found by its id.
func (p *planner) stepConfig(e v1alpha1.StepPluginStatus) json.RawMessage {
	if int(e.Index) < len(p.steps()) {
		if s := p.steps()[e.Index].Plugin; s != nil && s.Name == e.Name && len(s.Config) > 0 {
			return s.Config
		}
	}
	return json.RawMessage("{}")
}

func opStep(what string, index int32, operation v1alpha1.StepPluginOperation) rollout.OpID {
	return rollout.OpID(fmt.Sprintf("%s/%d/%s", what, index, strings.ToLower(string(operation))))
}

// stepEntry is what status says of an operation, nil when nothing.
func (p *planner) stepEntry(index int32, operation v1alpha1.StepPluginOperation) *v1alpha1.StepPluginStatus {
	for i := range p.ro.Status.Canary.StepPluginStatuses {
		if e := &p.ro.Status.Canary.StepPluginStatuses[i]; e.Index == index && e.Operation == operation {
			return e
		}
	}
	return nil
}

// awaited holds the update while a step plugin that it names is not there.
func (p *planner) awaited() {
	for name, problem := range p.s.StepPlugins {
		p.veto = true
		p.hold(rollout.Hold{Reason: rollout.HoldReason(problem.Reason), What: problem.Message, Blocking: true,
			EndedBy: "step plugin " + name + " being installed and ready"})
		if problem.Retry > 0 {
			p.wake(p.s.Now.Add(problem.Retry))
		}
	}
	for _, index := range slices.Sorted(maps.Keys(p.s.StepChecks.Problems)) {
		p.unchecked(index, p.s.StepChecks.Problems[index])
	}
}

// unchecked holds the update while a plugin finds a step's configuration wrong,
// or may not see what it needs to tell. An update that has not begun waits for
// the answer of a plugin that is being asked, which takes as long as the call
// may. One that has, and a plugin that does not work, are held by the step only,
// when the update comes to it.
func (p *planner) unchecked(index int32, problem rollout.Problem) {
	if problem.Retry > 0 {
		p.wake(p.s.Now.Add(problem.Retry))
	}
	switch problem.Class {
	case rollout.ProblemInvalid:
		p.invalid(fmt.Sprintf("spec.strategy.canary.steps[%d].plugin.config", index), "%s", problem.Error())
	case rollout.ProblemRefused:
		p.veto = true
		p.hold(rollout.Hold{Reason: rollout.HoldReason(problem.Reason), What: problem.Message, Blocking: true,
			EndedBy: "a change of the grant, the permission or the object the message names"})
	case rollout.ProblemWaiting:
		if st := p.ro.Status; p.plan.Hash == st.CurrentPodHash && p.plan.StepHash == st.CurrentStepHash {
			return
		}
		p.veto = true
		p.hold(rollout.Hold{Reason: rollout.HoldWaitingForPlugin, What: problem.Message, EndedBy: "the plugin's answer"})
	}
}
