package analysis

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func TestHealthyRunSucceeds(t *testing.T) {
	p := play(t, runOf(errorRate(every("10s", 3))), scalars(1)).toEnd()
	s := p.run.Status
	assert.Equal(t, successful, s.Phase)
	assert.Empty(t, s.Message)
	assert.Equal(t, v1alpha1.RunSummary{Count: 1, Successful: 1}, s.RunSummary)
	assert.Equal(t, &v1alpha1.RunSummary{}, s.DryRunSummary)
	require.NotNil(t, s.CompletedAt)
	r := p.result("error-rate")
	assert.EqualValues(t, 3, r.Count)
	assert.Equal(t, "1", r.Measurements[2].Value)
	assert.Equal(t, []string{"MetricSuccessful", "AnalysisRunSuccessful"}, p.reasons())
	assert.Equal(t, 10*time.Second, r.Measurements[1].StartedAt.Sub(r.Measurements[0].FinishedAt.Time))
}

func TestBadRunFailsWithEvidence(t *testing.T) {
	limit := func(m *v1alpha1.Metric) { m.FailureLimit = number(2) }
	p := play(t, runOf(errorRate(every("10s", 5), limit)), scalars(6, 9, 7.2)).toEnd()
	assert.Equal(t, failed, p.run.Status.Phase)
	assert.Equal(t, `Metric "error-rate" assessed Failed due to failed (3) > failureLimit (2)`, p.run.Status.Message)
	assert.Equal(t, "error-rate: 7.2 > 5 in 3 of 3 measurements (failureCondition result > 5)", p.result("error-rate").Message)
	assert.Equal(t, []string{"MetricFailed", "AnalysisRunFailed"}, p.reasons())
	assert.Contains(t, p.events[0].Message, "7.2 > 5 in 3 of 3")
}

func TestConditionsTogether(t *testing.T) {
	for _, c := range []struct {
		success, failure string
		value            float64
		want             v1alpha1.AnalysisPhase
		message          string
	}{
		{"", "", 1, successful, ""},
		{"result < 5", "", 4, successful, ""},
		{"result < 5", "", 6, failed, "error-rate: not 6 < 5 in 1 of 1 measurements (successCondition result < 5)"},
		{"", "result > 5", 4, successful, ""},
		{"result < 3", "result > 5", 1, successful, ""},
		{"result < 9", "result > 5", 6, failed, "error-rate: 6 > 5 in 1 of 1 measurements (failureCondition result > 5)"},
		{"result < 3", "result > 5", 4, inconclusive,
			"error-rate: neither 4 < 3 nor 4 > 5 in 1 of 1 measurements (successCondition result < 3, failureCondition result > 5)"},
	} {
		m := errorRate(func(m *v1alpha1.Metric) { m.SuccessCondition, m.FailureCondition = c.success, c.failure })
		p := play(t, runOf(m), scalars(c.value)).toEnd()
		assert.Equal(t, c.want, p.run.Status.Phase, "%+v", c)
		assert.Equal(t, c.message, p.result("error-rate").Message)
	}
}

func TestNoDataIsNamed(t *testing.T) {
	empty := func(string, string) (Answer, error) { return Answer{Value: &Value{Vector: []float64{}}}, nil }
	p := play(t, runOf(errorRate(func(m *v1alpha1.Metric) { m.FailureCondition = "result[0] > 5" })), empty).toEnd()
	assert.Equal(t, errored, p.run.Status.Phase, "an error is never success")
	assert.Contains(t, p.run.Status.Message, `consecutiveErrors (5) > consecutiveErrorLimit (4): "Error Message: failureCondition "result[0] > 5": no data was returned: result is [] (`)

	p = play(t, runOf(errorRate()), scalars(math.NaN())).toEnd()
	assert.Equal(t, successful, p.run.Status.Phase, "as in Argo Rollouts: NaN is not > 5")
	assert.Equal(t, "result is not a number: NaN; failureCondition result > 5 is false", p.result("error-rate").Message)
	assert.Equal(t, "NaN", p.result("error-rate").Measurements[0].Value)
}

func TestNoAnswerIsNoMeasurement(t *testing.T) {
	p := play(t, runOf(errorRate()), noAnswer)
	for range 50 {
		p.pass()
		if !p.plan.Wake.IsZero() {
			p.now = p.plan.Wake
		}
	}
	assert.Equal(t, running, p.run.Status.Phase)
	assert.Equal(t, "waiting for plugin fake: connection refused", p.run.Status.Message)
	assert.Empty(t, p.run.Status.MetricResults)
	assert.Greater(t, p.asked["uid-1.error-rate.1"], 5, "the same measurement is asked for again")

	p.answer = scalars(1)
	p.toEnd()
	assert.Equal(t, successful, p.run.Status.Phase)
	assert.Empty(t, p.run.Status.Message)
}

func TestMessageDoesNotFlickerWhileRetrying(t *testing.T) {
	run := runOf(errorRate())
	run.UID = "uid-1"
	run.Status = v1alpha1.AnalysisRunStatus{Phase: running, Message: "waiting for plugin x: gone", StartedAt: stamp(0)}
	again := Call{Verb: VerbMeasure, MeasurementID: "uid-1.error-rate.1", Waited: "waiting for plugin x: gone"}
	plan := Decide(Snapshot{Now: epoch, Run: run, Calls: map[string]Call{"error-rate": again}})
	assert.Equal(t, run.Status.Message, plan.Status.Message)
	assert.Empty(t, plan.Ops, "the call is under way")
}

func TestErrorsAreRetriedAfterTenSeconds(t *testing.T) {
	p := play(t, runOf(errorRate(every("60s", 2))), failing).toEnd()
	assert.Equal(t, errored, p.run.Status.Phase)
	r := p.result("error-rate")
	assert.EqualValues(t, 5, r.Error)
	assert.EqualValues(t, 0, r.Count)
	assert.Equal(t, 10*time.Second, r.Measurements[1].StartedAt.Sub(r.Measurements[0].FinishedAt.Time))
	assert.Equal(t, `Metric "error-rate" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): "Error Message: HTTP 500"`, p.run.Status.Message)
}

func TestInitialDelayCountsFromTheStart(t *testing.T) {
	p := play(t, runOf(errorRate(func(m *v1alpha1.Metric) { m.InitialDelay = "30s" })), scalars(1))
	p.pass()
	assert.Equal(t, epoch.Add(30*time.Second), p.plan.Wake)
	assert.Empty(t, p.plan.Ops)
	p.toEnd()
	assert.Equal(t, epoch.Add(30*time.Second), p.result("error-rate").Measurements[0].StartedAt.Time)
}

func TestWakesAtTheEarliestMetric(t *testing.T) {
	p := play(t, runOf(errorRate(every("60s", 3)), errorRate(every("20s", 3), called("latency"))), scalars(1))
	p.pass()
	p.pass()
	assert.Equal(t, p.now.Add(20*time.Second), p.plan.Wake)
}

func TestSiblingsOfAFailedMetricAreEnded(t *testing.T) {
	job := func(metric, _ string) (Answer, error) {
		if metric == "job" {
			return Answer{Pending: &Pending{State: []byte("job-1"), ResumeAfter: time.Minute}}, nil
		}
		return scalars(9)(metric, "")
	}
	p := play(t, runOf(errorRate(), errorRate(called("job")), errorRate(every("10s", 0), called("quiet"), func(m *v1alpha1.Metric) {
		m.FailureCondition = "result > 100"
	})), job)
	p.pass()
	p.pass()
	assert.Equal(t, failed, p.run.Status.Phase, "the verdict does not wait for the job")
	assert.Equal(t, successful, p.result("quiet").Phase)
	require.Len(t, p.plan.Ops, 1)
	assert.Equal(t, Op{
		Verb: VerbCancel, Metric: "job", Index: 1, MeasurementID: "uid-1.job.1", State: []byte("job-1"), StartedAt: epoch,
	}, p.plan.Ops[0])
	p.toEnd()
	assert.Equal(t, "Metric Terminated", p.result("job").Message)
	assert.Equal(t, inconclusive, p.result("job").Phase)
	assert.Equal(t, failed, p.run.Status.Phase)
	assert.Equal(t, []string{"MetricFailed", "MetricSuccessful", "AnalysisRunFailed"}, p.reasons())
}

func TestAnAnswerUnderWayMayStillBeWorse(t *testing.T) {
	run := runOf(errorRate(called("doubtful"), func(m *v1alpha1.Metric) { m.SuccessCondition = "result < 1" }), errorRate(called("slow")))
	p := play(t, run, scalars(3))
	p.pass()
	slow := p.calls["slow"]
	slow.Result = nil
	p.calls["slow"] = slow
	p.pass()
	assert.Equal(t, running, p.run.Status.Phase, "inconclusive would pause, but slow may say Failed")
	assert.Equal(t, inconclusive, p.result("doubtful").Phase)
	assert.Empty(t, p.plan.Ops)

	nine := 9.0
	slow.Result = measured(run.Spec.Metrics[1], Answer{Value: &Value{Scalar: &nine}}, p.now, p.now, redactor{})
	p.calls["slow"] = slow
	p.pass()
	assert.Equal(t, failed, p.run.Status.Phase)
}

func TestFailedWaitsForNobody(t *testing.T) {
	p := play(t, runOf(errorRate(), errorRate(called("slow"))), scalars(9))
	p.pass()
	slow := p.calls["slow"]
	slow.Result = nil
	p.calls["slow"] = slow
	plan := p.pass()
	assert.Equal(t, failed, p.run.Status.Phase)
	require.Len(t, plan.Ops, 1)
	assert.Equal(t, VerbCancel, plan.Ops[0].Verb, "and what it started is ended")
	assert.Equal(t, "slow", plan.Ops[0].Metric)
}

func TestTerminateEndsEarly(t *testing.T) {
	p := play(t, runOf(errorRate(every("10s", 0))), scalars(1))
	p.pass()
	p.pass()
	p.run.Spec.Terminate = true
	p.toEnd()
	assert.Equal(t, successful, p.run.Status.Phase)
	assert.Equal(t, "Run Terminated", p.run.Status.Message)

	p = play(t, runOf(errorRate()), scalars(1))
	p.run.Spec.Terminate = true
	p.toEnd()
	assert.Equal(t, successful, p.run.Status.Phase, "nothing was measured")
	assert.Empty(t, p.asked)
}

func TestTerminatedJobIsInconclusive(t *testing.T) {
	p := play(t, runOf(errorRate()), func(string, string) (Answer, error) {
		return Answer{Pending: &Pending{State: []byte("j")}}, nil
	})
	p.pass()
	p.pass()
	assert.Equal(t, p.now.Add(10*time.Second-time.Second), p.run.Status.MetricResults[0].Measurements[0].ResumeAt.Add(-time.Second))
	p.run.Spec.Terminate = true
	p.toEnd()
	assert.Equal(t, inconclusive, p.run.Status.Phase)
	m := p.result("error-rate").Measurements[0]
	assert.Equal(t, "Metric Terminated", m.Message)
	assert.Nil(t, m.ResumeAt)
	assert.NotContains(t, m.Metadata, stateKey)
}

func TestPendingMeasurementIsResumedWithItsState(t *testing.T) {
	p := play(t, runOf(errorRate()), func(string, string) (Answer, error) {
		return Answer{Pending: &Pending{State: []byte{0, 1, 255}, ResumeAfter: time.Minute}}, nil
	})
	p.pass()
	p.pass()
	assert.Equal(t, running, p.result("error-rate").Phase)
	p.now = p.plan.Wake
	plan := p.pass()
	require.Len(t, plan.Ops, 1)
	assert.Equal(t, []byte{0, 1, 255}, plan.Ops[0].State)
	assert.Equal(t, "uid-1.error-rate.1", plan.Ops[0].MeasurementID)
	assert.Equal(t, epoch, plan.Ops[0].StartedAt)
}

func TestDryRunNeverDecides(t *testing.T) {
	run := runOf(errorRate())
	run.Spec.DryRun = []v1alpha1.DryRun{{MetricName: ".*"}}
	p := play(t, run, scalars(9)).toEnd()
	assert.Equal(t, successful, p.run.Status.Phase)
	r := p.result("error-rate")
	assert.True(t, r.DryRun)
	assert.Equal(t, failed, r.Phase)
	assert.Equal(t, "Metric assessed Failed due to failed (1) > failureLimit (0)", r.Message)
	assert.Equal(t, &v1alpha1.RunSummary{Count: 1, Failed: 1}, p.run.Status.DryRunSummary)
	assert.Equal(t, v1alpha1.RunSummary{}, p.run.Status.RunSummary)
}

func TestLimitsMayBeArguments(t *testing.T) {
	three, five := "3", "5"
	run := runOf(errorRate(func(m *v1alpha1.Metric) {
		m.Name, m.Interval, m.FailureCondition = "rate of {{args.service}}", "{{ args.every }}s", "result > {{args.limit}}"
		count := intstr.FromString("{{args.count}}")
		m.Count = &count
	}))
	service := "shop"
	run.Spec.Args = []v1alpha1.Argument{
		{Name: "count", Value: &three}, {Name: "every", Value: &five}, {Name: "limit", Value: &five}, {Name: "service", Value: &service},
	}
	p := play(t, run, scalars(1)).toEnd()
	r := p.result("rate of shop")
	assert.EqualValues(t, 3, r.Count)
	assert.Equal(t, 5*time.Second, r.Measurements[1].StartedAt.Sub(r.Measurements[0].FinishedAt.Time))
	for id := range p.asked {
		assert.Regexp(t, `^[A-Za-z0-9.-]{1,253}$`, id)
	}
}

func TestMeasurementIDsNeverMeet(t *testing.T) {
	run := &v1alpha1.AnalysisRun{}
	run.UID = "u"
	long := strings.Repeat("a", 300)
	seen := map[string]string{}
	for _, name := range []string{"a b", "a.b", "a-b", "ä", "ö", long, long + "b", "", "-"} {
		id := measurementID(run, name, 1)
		assert.Regexp(t, `^[A-Za-z0-9.-]{1,253}$`, id)
		assert.Empty(t, seen[id], "%q and %q share %s", seen[id], name, id)
		seen[id] = name + " "
	}
}

// What a provider warns of stops nothing: it is shown with the metric and told
// once, whatever else the provider shows there.
func TestAProviderWarns(t *testing.T) {
	measured, one := 0, 1.0
	p := play(t, runOf(errorRate(every("10s", 4))), func(string, string) (Answer, error) {
		measured++
		answer := Answer{Value: &Value{Scalar: &one}, Warning: "old is called new"}
		if measured > 1 {
			answer.ResultMetadata = map[string]string{"query": "up"}
		}
		if measured > 2 { // another controller resumes, and did not ask
			answer.Warning = ""
		}
		return answer, nil
	}).toEnd()
	assert.Equal(t, successful, p.run.Status.Phase)
	assert.Equal(t, map[string]string{"query": "up", "pluginWarning": "old is called new"}, p.result("error-rate").Metadata)
	assert.Equal(t, []string{"PluginWarning", "MetricSuccessful", "AnalysisRunSuccessful"}, p.reasons())
	assert.Equal(t, "Metric 'error-rate': old is called new", p.events[0].Message)
}
