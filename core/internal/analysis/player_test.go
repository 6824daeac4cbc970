package analysis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

var epoch = time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)

// player plays a run against scripted answers on a clock that jumps to the
// next thing to happen. Every answer takes one second.
type player struct {
	t   require.TestingT
	run *v1alpha1.AnalysisRun
	now time.Time
	// answer is asked with the id of the measurement.
	answer func(metric, id string) (Answer, error)
	// crash, when set, is asked before a result is recorded: true loses it, as
	// a restart of the controller does.
	crash func() bool
	// cancel, when set, answers a Cancel.
	cancel func() error

	calls  map[string]Call
	events []Event
	asked  map[string]int // by measurement id
	plan   Plan
}

func play(t require.TestingT, run *v1alpha1.AnalysisRun, answer func(metric, id string) (Answer, error)) *player {
	run.UID, run.Namespace, run.Name = "uid-1", "shop", "check"
	return &player{t: t, run: run, now: epoch, answer: answer, calls: map[string]Call{}, asked: map[string]int{}}
}

// pass makes one pass and answers what it asks for.
func (p *player) pass() Plan {
	before := p.run.DeepCopy()
	plan := Decide(Snapshot{Now: p.now, Run: p.run, Calls: p.calls})
	require.Equal(p.t, before, p.run, "a pass changes nothing it was given")
	require.Equal(p.t, plan, Decide(Snapshot{Now: p.now, Run: p.run, Calls: p.calls}), "a pass is a function of its snapshot")
	p.run = p.run.DeepCopy()
	p.run.Status = plan.Status
	for metric := range plan.Used {
		delete(p.calls, metric)
	}
	p.events = append(p.events, plan.Events...)
	if len(plan.Ops) > 0 {
		started := p.now
		p.now = p.now.Add(time.Second)
		for _, op := range plan.Ops {
			p.carryOut(op, started)
		}
	}
	p.plan = plan
	return plan
}

func (p *player) carryOut(op Op, started time.Time) {
	if op.Verb == VerbCollect {
		return
	}
	call := Call{Verb: op.Verb, MeasurementID: op.MeasurementID, Result: &Result{}}
	if op.Verb == VerbMeasure {
		p.asked[op.MeasurementID]++
		metric, err := runspec.WithoutSecrets(p.run.Spec.Metrics[op.Index], p.run.Spec.Args)
		require.NoError(p.t, err)
		if !op.StartedAt.IsZero() {
			started = op.StartedAt
		}
		answer, err := p.answer(op.Metric, op.MeasurementID)
		if err != nil {
			call.Result = waitFor("fake", err)
			call.Result.RetryAt = p.now.Add(5 * time.Second)
		} else {
			call.Result = measured(metric, answer, started, p.now, redactor{})
		}
	}
	if op.Verb == VerbCancel && p.cancel != nil {
		if err := p.cancel(); err != nil {
			call.Result = waitFor("fake", err)
			call.Result.RetryAt = p.now.Add(5 * time.Second)
		}
	}
	if p.crash != nil && p.crash() {
		return
	}
	p.calls[op.Metric] = call
}

// toEnd plays until the run is completed and has nothing more to clean up.
func (p *player) toEnd() *player {
	for range 10_000 {
		plan := p.pass()
		if len(plan.Ops) > 0 || len(p.calls) > 0 && p.ready() {
			continue
		}
		if p.run.Status.Phase.Completed() {
			return p
		}
		wake := plan.Wake
		require.False(p.t, wake.IsZero(), "a run that waits says until when: %+v", p.run.Status)
		if wake.After(p.now) {
			p.now = wake
		} else {
			p.now = p.now.Add(time.Second)
		}
	}
	require.FailNow(p.t, "the run does not end")
	return p
}

// ready reports whether a call has something to record.
func (p *player) ready() bool {
	for _, call := range p.calls {
		if call.Result != nil && call.Result.Waiting == "" {
			return true
		}
	}
	return false
}

func (p *player) result(metric string) v1alpha1.MetricResult {
	r := resultOf(&p.run.Status, metric)
	require.NotNil(p.t, r, metric)
	return *r
}

func (p *player) reasons() []string {
	var reasons []string
	for _, e := range p.events {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// scalars answers with these numbers in turn, the last one for ever.
func scalars(numbers ...float64) func(string, string) (Answer, error) {
	i := -1
	return func(string, string) (Answer, error) {
		i = min(i+1, len(numbers)-1)
		return Answer{Value: &Value{Scalar: &numbers[i]}}, nil
	}
}

func noAnswer(string, string) (Answer, error) { return Answer{}, errors.New("connection refused") }

func failing(string, string) (Answer, error) { return Answer{Err: errors.New("HTTP 500")}, nil }

func number(n int) *intstr.IntOrString {
	v := intstr.FromInt32(int32(n))
	return &v
}

// errorRate is a metric that fails above 5.
func errorRate(change ...func(*v1alpha1.Metric)) v1alpha1.Metric {
	m := v1alpha1.Metric{
		Name: "error-rate", FailureCondition: "result > 5",
		Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Query: "errors"}},
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func every(interval string, count int) func(*v1alpha1.Metric) {
	return func(m *v1alpha1.Metric) {
		m.Interval = v1alpha1.DurationString(interval)
		if count > 0 {
			m.Count = number(count)
		}
	}
}

func called(name string) func(*v1alpha1.Metric) {
	return func(m *v1alpha1.Metric) { m.Name = name }
}

func runOf(metrics ...v1alpha1.Metric) *v1alpha1.AnalysisRun {
	return &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{Metrics: metrics}}
}

func stamp(seconds int) *metav1.Time { return at(epoch.Add(time.Duration(seconds) * time.Second)) }

// finished is a result with that history; letters are S F I E, and R for one
// that is still running.
func finished(history string) v1alpha1.MetricResult {
	r := v1alpha1.MetricResult{Name: "m", Phase: v1alpha1.AnalysisPhaseRunning}
	phases := map[rune]v1alpha1.AnalysisPhase{
		'S': v1alpha1.AnalysisPhaseSuccessful, 'F': v1alpha1.AnalysisPhaseFailed,
		'I': v1alpha1.AnalysisPhaseInconclusive, 'E': v1alpha1.AnalysisPhaseError, 'R': v1alpha1.AnalysisPhaseRunning,
	}
	for i, letter := range history {
		m := v1alpha1.Measurement{Phase: phases[letter], StartedAt: stamp(i)}
		if letter != 'R' {
			m.FinishedAt = stamp(i)
		}
		r.Measurements = append(r.Measurements, m)
		count(&r, m.Phase)
	}
	return r
}

func TestCountingFollowsTheHistory(t *testing.T) {
	r := finished("SSFEESIEE")
	got := fmt.Sprintf("count %d: %dS %dF %dI %dE, in a row %dE %dS",
		r.Count, r.Successful, r.Failed, r.Inconclusive, r.Error, r.ConsecutiveError, r.ConsecutiveSuccess)
	require.Equal(t, "count 5: 3S 1F 1I 4E, in a row 2E 0S", got)
}
