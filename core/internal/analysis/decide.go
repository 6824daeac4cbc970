package analysis

import (
	"encoding/base64"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const (
	// errorRetry is the wait after an Error measurement, whatever the interval.
	errorRetry = 10 * time.Second
	// pendingRetry is the wait for a provider that did not say when to resume.
	pendingRetry = 10 * time.Second
	// shortestInterval keeps "interval: 0s" from turning into a loop of status
	// writes; times in status have whole seconds anyway.
	shortestInterval = time.Second
)

// Plan is what one pass over a run wants.
type Plan struct {
	// Status is the wanted status; it is written first, and only if it differs.
	Status v1alpha1.AnalysisRunStatus
	// Ops are started after the status is written.
	Ops []Op
	// Used are the measurement ids whose results Status holds, by metric; they
	// are forgotten once it is written.
	Used map[string]string
	// Events follow the status write.
	Events []Event
	// Delete says that the time to live is over.
	Delete bool
	// Wake is when to look again without an event; zero means never.
	Wake time.Time
}

// Op is one call to make.
type Op struct {
	Verb Verb
	// Metric is the name with arguments filled in, Index its place in
	// spec.metrics.
	Metric string
	Index  int
	// MeasurementID is empty for VerbCollect.
	MeasurementID string
	State         []byte
	// StartedAt of a measurement that is resumed; zero when it starts.
	StartedAt time.Time
	// Keep lists the measurement ids VerbCollect leaves alone.
	Keep []string
}

// Decide is pure: it records the results of calls, assesses metrics and run,
// and plans the next calls. A completed run is only cleaned up: what it has in
// flight is cancelled, and it is deleted when its time to live is over.
func Decide(s Snapshot) Plan {
	p := Plan{Status: *s.Run.Status.DeepCopy(), Used: map[string]string{}}
	list, err := subjects(s.Run)
	if err != nil {
		if !p.Status.Phase.Completed() {
			p.end(s.Now, v1alpha1.AnalysisPhaseError, "Analysis spec invalid: "+err.Error())
		}
		p.expire(s)
		return p
	}
	if p.Status.StartedAt == nil {
		p.Status.StartedAt = at(s.Now)
	}
	waits := p.record(s, list)
	if !p.Status.Phase.Completed() {
		p.assess(s, list, waits)
	}
	over := p.Status.Phase.Completed()
	ending := over || terminating(s.Run, &p.Status)
	for _, sub := range list {
		p.schedule(s, sub, ending)
	}
	p.trim(s.Run, list)
	p.expire(s)
	return p
}

// schedule plans the next call of one metric.
func (p *Plan) schedule(s Snapshot, sub subject, ending bool) {
	name := sub.metric.Name
	result := resultOf(&p.Status, name)
	last := lastOf(result)
	op := Op{Verb: VerbMeasure, Metric: name, Index: sub.index, MeasurementID: nextID(s.Run, result, name)}
	inFlight := last != nil && last.FinishedAt == nil
	if inFlight {
		op.State, op.StartedAt = stateOf(*last), startOf(*last, s.Now)
	}
	if call, ok := s.Calls[name]; ok && p.Used[name] == "" {
		if call.MeasurementID != op.MeasurementID {
			p.Used[name] = call.MeasurementID // an answer nobody asks for any more
		} else {
			p.followUp(s, op, call, ending)
			return
		}
	}
	switch {
	case inFlight && ending:
		op.Verb = VerbCancel
		p.Ops = append(p.Ops, op)
	case ending || result != nil && result.Phase.Completed():
	case inFlight && last.ResumeAt != nil && s.Now.Before(last.ResumeAt.Time):
		p.wake(last.ResumeAt.Time)
	case inFlight:
		p.Ops = append(p.Ops, op)
	default:
		due, again := p.due(sub, result, last)
		switch {
		case !again:
		case s.Now.Before(due):
			p.wake(due)
		default:
			p.Ops = append(p.Ops, op)
		}
	}
}

// followUp deals with a call that is under way or got no answer.
func (p *Plan) followUp(s Snapshot, op Op, call Call, ending bool) {
	if ending {
		op.Verb = VerbCancel
	}
	switch {
	case p.awaited(s.Run, call):
	case ending && call.Verb == VerbMeasure:
		p.Ops = append(p.Ops, op) // ends the call under way, then what it started
	case call.Result == nil:
	case s.Now.Before(call.Result.RetryAt):
		p.wake(call.Result.RetryAt)
	default:
		p.Ops = append(p.Ops, op)
	}
}

// awaited reports whether the answer to a call under way may still change the
// verdict of a run that has a bad metric but is not over; see assess.
func (p *Plan) awaited(run *v1alpha1.AnalysisRun, call Call) bool {
	return call.Verb == VerbMeasure && call.Result == nil && !run.Spec.Terminate && !p.Status.Phase.Completed()
}

// due says when the next measurement is due, and whether there is one.
func (p *Plan) due(sub subject, result *v1alpha1.MetricResult, last *v1alpha1.Measurement) (time.Time, bool) {
	if last == nil {
		return p.Status.StartedAt.Add(sub.limits.InitialDelay), true
	}
	if c := sub.limits.Count; c != nil && result.Count >= *c {
		return time.Time{}, false
	}
	if last.Phase == v1alpha1.AnalysisPhaseError || sub.metric.Interval == "" {
		return last.FinishedAt.Add(errorRetry), true
	}
	return last.FinishedAt.Add(max(sub.limits.Interval, shortestInterval)), true
}

// expire ends the life of a completed run. Failure and success have limits of
// their own; everything else, Error and Inconclusive included, has the general
// one.
func (p *Plan) expire(s Snapshot) {
	ttl := s.Run.Spec.TTLStrategy
	if ttl == nil || !p.Status.Phase.Completed() || p.Status.CompletedAt == nil {
		return
	}
	limit := ttl.SecondsAfterCompletion
	switch {
	case p.Status.Phase == v1alpha1.AnalysisPhaseSuccessful && ttl.SecondsAfterSuccess != nil:
		limit = ttl.SecondsAfterSuccess
	case p.Status.Phase == v1alpha1.AnalysisPhaseFailed && ttl.SecondsAfterFailure != nil:
		limit = ttl.SecondsAfterFailure
	}
	if limit == nil {
		return
	}
	// Whole seconds have to exceed the limit.
	end := p.Status.CompletedAt.Add(time.Duration(*limit+1) * time.Second)
	if s.Now.Before(end) {
		p.wake(end)
		return
	}
	p.Delete = true
}

func (p *Plan) wake(t time.Time) {
	if p.Wake.IsZero() || t.Before(p.Wake) {
		p.Wake = t
	}
}

// stateKey holds the state of a pending measurement in its metadata: status is
// the only place that survives a restart, and Argo's schema has no other field.
const stateKey = "sluice/state"

func stateOf(m v1alpha1.Measurement) []byte {
	state, err := base64.StdEncoding.DecodeString(m.Metadata[stateKey])
	if err != nil || len(state) == 0 {
		return nil // edited by hand: the provider starts over under the same id
	}
	return state
}

func startOf(m v1alpha1.Measurement, now time.Time) time.Time {
	if m.StartedAt == nil {
		return now
	}
	return m.StartedAt.Time
}
