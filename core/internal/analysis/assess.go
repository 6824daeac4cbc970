package analysis

import (
	"fmt"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

// assess decides every metric and then the run.
func (p *Plan) assess(s Snapshot, list []subject, waits []string) {
	// A metric that ends badly ends its siblings in the same pass.
	for before := terminating(s.Run, &p.Status); ; {
		for _, sub := range list {
			p.assessMetric(sub, before)
		}
		after := terminating(s.Run, &p.Status)
		if after == before {
			break
		}
		before = after
	}
	v := p.survey(s.Run, list)
	if v.message == "" && s.Run.Spec.Terminate {
		v.message = "Run Terminated"
	}
	switch {
	case v.worst == v1alpha1.AnalysisPhaseFailed, v.worst != "" && v.complete:
		// Nothing can be worse than Failed: no measurement in flight, hanging
		// provider or absent plugin delays the abort of a rollout. What is in
		// flight is cancelled afterwards.
		p.end(s.Now, v.worst, v.message)
	case fatal(v.worst) && !p.underway(s, list):
		p.end(s.Now, v.worst, v.message)
	case s.Run.Spec.Terminate && !p.inFlight(s, list):
		p.end(s.Now, p.cutShort(list, v.worst), v.message)
	default:
		p.Status.Phase, p.Status.Message = v1alpha1.AnalysisPhaseRunning, join(waits)
	}
}

// terminating reports whether nothing new is measured: somebody asked for it,
// or a metric that counts has ended badly.
func terminating(run *v1alpha1.AnalysisRun, status *v1alpha1.AnalysisRunStatus) bool {
	if run.Spec.Terminate {
		return true
	}
	for _, result := range status.MetricResults {
		if !result.DryRun && fatal(result.Phase) {
			return true
		}
	}
	return false
}

func fatal(phase v1alpha1.AnalysisPhase) bool {
	return phase.Completed() && phase != v1alpha1.AnalysisPhaseSuccessful
}

func (p *Plan) assessMetric(sub subject, terminating bool) {
	result := resultOf(&p.Status, sub.metric.Name)
	if result == nil || result.Phase.Completed() {
		return
	}
	phase, cause := assessMetric(sub.limits, *result, terminating)
	if phase == result.Phase {
		return
	}
	result.Phase = phase
	if !phase.Completed() {
		return
	}
	message := fmt.Sprintf("Metric '%s' Completed. Result: %s", sub.metric.Name, phase)
	if fatal(phase) && result.Message != "" {
		message += " (" + result.Message + ")"
	}
	p.Events = append(p.Events, Event{eventType(phase), v1alpha1.EventPrefixMetric + string(phase), message})
	if sub.dryRun && cause != "" {
		result.Message = fmt.Sprintf("Metric assessed %s due to %s", phase, cause)
	}
}

// assessMetric is the verdict on one metric, with the limit that decided it.
// Later limits override earlier ones: an Error beats an Inconclusive beats a
// Failed of the same metric.
func assessMetric(l runspec.Limits, r v1alpha1.MetricResult, terminating bool) (phase v1alpha1.AnalysisPhase, cause string) {
	last := lastOf(&r)
	switch {
	case r.Phase.Completed():
		return r.Phase, badLimit(l, r)
	case last == nil && terminating:
		return v1alpha1.AnalysisPhaseSuccessful, ""
	case last == nil:
		return v1alpha1.AnalysisPhasePending, ""
	case last.FinishedAt == nil:
		return v1alpha1.AnalysisPhaseRunning, ""
	}
	if phase := badPhase(l, r); phase != "" {
		return phase, badLimit(l, r)
	}
	successes := l.ConsecutiveSuccessLimit
	switch {
	case successes > 0 && r.ConsecutiveSuccess >= successes:
		return v1alpha1.AnalysisPhaseSuccessful, ""
	case l.Count != nil && r.Count >= *l.Count:
		cause = fmt.Sprintf("consecutiveSuccess (%d) < consecutiveSuccessLimit (%d)", r.ConsecutiveSuccess, successes)
		switch {
		case successes > 0 && l.FailureLimit >= 0:
			return v1alpha1.AnalysisPhaseInconclusive, cause
		case successes > 0:
			return v1alpha1.AnalysisPhaseFailed, cause
		}
		return v1alpha1.AnalysisPhaseSuccessful, ""
	case terminating:
		return v1alpha1.AnalysisPhaseSuccessful, ""
	}
	return v1alpha1.AnalysisPhaseRunning, ""
}

func badPhase(l runspec.Limits, r v1alpha1.MetricResult) v1alpha1.AnalysisPhase {
	switch {
	case r.ConsecutiveError > l.ConsecutiveErrorLimit:
		return v1alpha1.AnalysisPhaseError
	case r.Inconclusive > l.InconclusiveLimit:
		return v1alpha1.AnalysisPhaseInconclusive
	case l.FailureLimit >= 0 && r.Failed > l.FailureLimit:
		return v1alpha1.AnalysisPhaseFailed
	}
	return ""
}

// badLimit words the limit that was exceeded as Argo does, "" when none was.
func badLimit(l runspec.Limits, r v1alpha1.MetricResult) string {
	switch badPhase(l, r) {
	case v1alpha1.AnalysisPhaseError:
		return fmt.Sprintf("consecutiveErrors (%d) > consecutiveErrorLimit (%d)", r.ConsecutiveError, l.ConsecutiveErrorLimit)
	case v1alpha1.AnalysisPhaseInconclusive:
		return fmt.Sprintf("inconclusive (%d) > inconclusiveLimit (%d)", r.Inconclusive, l.InconclusiveLimit)
	case v1alpha1.AnalysisPhaseFailed:
		return fmt.Sprintf("failed (%d) > failureLimit (%d)", r.Failed, l.FailureLimit)
	}
	return ""
}

// verdict is a run seen as a whole.
type verdict struct {
	// worst phase of the completed metrics that count; "" while there is none.
	worst    v1alpha1.AnalysisPhase
	message  string
	complete bool
}

// survey finds the worst metric and counts the summaries anew.
func (p *Plan) survey(run *v1alpha1.AnalysisRun, list []subject) verdict {
	v := verdict{complete: true}
	var counted, dry v1alpha1.RunSummary
	for _, sub := range list {
		summary := &counted
		if sub.dryRun {
			summary = &dry
		}
		summary.Count++
		result := resultOf(&p.Status, sub.metric.Name)
		if result == nil || !result.Phase.Completed() {
			v.complete = false
			continue
		}
		tally(summary, result.Phase)
		switch {
		case sub.dryRun && v.worst == "":
			v.worst = v1alpha1.AnalysisPhaseSuccessful
		case !sub.dryRun && (v.worst == "" || severity[result.Phase] > severity[v.worst]):
			v.worst = result.Phase
			if message := blame(sub, *result); message != "" {
				v.message = message
			}
		}
	}
	p.Status.RunSummary, p.Status.DryRunSummary = counted, &dry
	return v
}

// blame is the run's message about its worst metric, in Argo's words; "" for a
// metric that ended well. What was measured stands in the metric's own message.
func blame(sub subject, result v1alpha1.MetricResult) string {
	_, cause := assessMetric(sub.limits, result, false)
	if !fatal(result.Phase) {
		return ""
	}
	if cause == "" {
		cause = fmt.Sprintf("consecutiveSuccess (%d) < consecutiveSuccessLimit (%d)",
			result.ConsecutiveSuccess, sub.limits.ConsecutiveSuccessLimit)
	}
	message := fmt.Sprintf("Metric %q assessed %s due to %s", result.Name, result.Phase, cause)
	if last := lastOf(&result); last != nil && last.Message != "" {
		message += fmt.Sprintf(": \"Error Message: %s\"", last.Message)
	}
	return message
}

// severity across metrics. Failed is worst: evidence against a revision
// outweighs the lack of evidence.
var severity = map[v1alpha1.AnalysisPhase]int{
	v1alpha1.AnalysisPhaseSuccessful:   1,
	v1alpha1.AnalysisPhaseRunning:      2,
	v1alpha1.AnalysisPhasePending:      3,
	v1alpha1.AnalysisPhaseInconclusive: 4,
	v1alpha1.AnalysisPhaseError:        5,
	v1alpha1.AnalysisPhaseFailed:       6,
}

func tally(summary *v1alpha1.RunSummary, phase v1alpha1.AnalysisPhase) {
	switch phase {
	case v1alpha1.AnalysisPhaseSuccessful:
		summary.Successful++
	case v1alpha1.AnalysisPhaseFailed:
		summary.Failed++
	case v1alpha1.AnalysisPhaseInconclusive:
		summary.Inconclusive++
	case v1alpha1.AnalysisPhaseError:
		summary.Error++
	}
}

// inFlight reports whether a measurement is recorded as running or its call is
// under way: a run that was told to terminate waits until these are cancelled.
// It does not wait for a provider that gives no answer: a person has ended the
// run, and what it left is cancelled when the provider is back.
func (p *Plan) inFlight(s Snapshot, list []subject) bool {
	for _, sub := range list {
		call, asked := p.call(s, sub)
		if asked && call.Verb == VerbCancel && call.Result != nil && call.Result.Waiting != "" {
			continue
		}
		if asked || unfinished(resultOf(&p.Status, sub.metric.Name)) {
			return true
		}
	}
	return false
}

// cutShort is the verdict on a run that was told to terminate. A measurement
// that nobody could end has no verdict of its own, and is not success.
func (p *Plan) cutShort(list []subject, worst v1alpha1.AnalysisPhase) v1alpha1.AnalysisPhase {
	for _, sub := range list {
		if !sub.dryRun && unfinished(resultOf(&p.Status, sub.metric.Name)) &&
			severity[v1alpha1.AnalysisPhaseInconclusive] > severity[worst] {
			worst = v1alpha1.AnalysisPhaseInconclusive
		}
	}
	if worst == "" {
		return v1alpha1.AnalysisPhaseSuccessful
	}
	return worst
}

func unfinished(result *v1alpha1.MetricResult) bool {
	last := lastOf(result)
	return last != nil && last.FinishedAt == nil
}

// underway reports whether a provider is being asked for a measurement right
// now. Its answer may be Failed, which outweighs what is known; its deadline
// bounds the wait.
func (p *Plan) underway(s Snapshot, list []subject) bool {
	for _, sub := range list {
		if call, ok := p.call(s, sub); ok && p.awaited(s.Run, call) {
			return true
		}
	}
	return false
}

// call is the call for the metric's next measurement that was not used yet.
func (p *Plan) call(s Snapshot, sub subject) (Call, bool) {
	name := sub.metric.Name
	call, ok := s.Calls[name]
	ok = ok && p.Used[name] == "" && call.MeasurementID == nextID(s.Run, resultOf(&p.Status, name), name)
	return call, ok
}
