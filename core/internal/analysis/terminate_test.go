package analysis

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

// TestTerminateDoesNotWaitForAProviderThatIsGone: the person's word ends the run;
// what it left is cancelled when the provider is back.
func TestTerminateDoesNotWaitForAProviderThatIsGone(t *testing.T) {
	run := runOf(errorRate(every("10s", 5)), errorRate(called("job")))
	p := play(t, run, func(metric, _ string) (Answer, error) {
		if metric == "job" {
			return Answer{Pending: &Pending{State: []byte("job-1"), ResumeAfter: time.Minute}}, nil
		}
		one := 1.0
		return Answer{Value: &Value{Scalar: &one}}, nil
	})
	p.pass()
	p.pass()
	gone := true
	p.cancel = func() error {
		if gone {
			return errors.New("not installed")
		}
		return nil
	}
	p.run.Spec.Terminate = true
	p.pass()
	p.pass()
	assert.Equal(t, inconclusive, p.run.Status.Phase, "a measurement without verdict is not success")
	assert.Equal(t, "Run Terminated", p.run.Status.Message)
	require.NotNil(t, p.run.Status.CompletedAt)
	ended := *p.run.Status.CompletedAt

	retry := func() {
		require.False(t, p.plan.Wake.IsZero(), "it is tried again")
		p.now = p.plan.Wake
		p.pass() // asks
		p.pass() // takes the answer
	}
	for range 3 {
		retry()
		assert.Equal(t, []byte("job-1"), stateOf(p.result("job").Measurements[0]), "it is still known what to cancel")
	}
	gone = false
	retry()
	assert.Equal(t, "Metric Terminated", p.result("job").Measurements[0].Message)
	assert.Equal(t, inconclusive, p.run.Status.Phase)
	assert.Equal(t, ended, *p.run.Status.CompletedAt)
	assert.Empty(t, p.pass().Ops)
	assert.True(t, p.plan.Wake.IsZero())
}

func TestTerminateOfARunThatWasNeverMeasured(t *testing.T) {
	p := play(t, runOf(errorRate()), noAnswer)
	p.cancel = func() error { return errors.New("not installed") }
	p.pass()
	p.pass()
	assert.Equal(t, running, p.run.Status.Phase)
	p.run.Spec.Terminate = true
	p.pass()
	p.pass()
	assert.Equal(t, successful, p.run.Status.Phase)
	assert.Equal(t, "Run Terminated", p.run.Status.Message)
	assert.Empty(t, p.run.Status.MetricResults)
}

// TestADryRunMetricInFlightDoesNotCount towards the verdict of a terminated run.
func TestADryRunMetricInFlightDoesNotCount(t *testing.T) {
	run := runOf(errorRate(called("job")))
	run.Spec.DryRun = []v1alpha1.DryRun{{MetricName: "job"}}
	p := play(t, run, func(string, string) (Answer, error) {
		return Answer{Pending: &Pending{ResumeAfter: time.Minute}}, nil
	})
	p.cancel = func() error { return errors.New("not installed") }
	p.pass()
	p.pass()
	p.run.Spec.Terminate = true
	p.pass()
	p.pass()
	assert.Equal(t, successful, p.run.Status.Phase)
}

func TestRequireData(t *testing.T) {
	nan, text := math.NaN(), ""
	for _, c := range []struct {
		value   Value
		loose   v1alpha1.AnalysisPhase
		strict  v1alpha1.AnalysisPhase
		message string
	}{
		{Value{Vector: []float64{}}, errored, inconclusive, "no data was returned: result is []"},
		{Value{JSON: json.RawMessage("null")}, errored, inconclusive, "no data was returned: result is nil"},
		{Value{JSON: json.RawMessage("[]")}, errored, inconclusive, "no data was returned: result is []"},
		{Value{Text: &text}, errored, inconclusive, "no data was returned: result is "},
		{Value{Vector: []float64{nan}}, successful, inconclusive, "result is not a number: [NaN]"},
		{Value{Vector: []float64{1, nan}}, successful, inconclusive, "result is not a number: [1,NaN]"},
		{Value{Vector: []float64{1}}, successful, successful, ""},
		{Value{Vector: []float64{7}}, failed, failed, ""},
	} {
		metric := errorRate()
		metric.FailureCondition = "result[0] > 5"
		assert.Equal(t, c.loose, judge(metric, c.value, redactor{}).phase, "%+v", c)
		metric.RequireData = true
		j := judge(metric, c.value, redactor{})
		assert.Equal(t, c.strict, j.phase, "%+v", c)
		if c.message != "" {
			assert.Equal(t, c.message+"; requireData is set; failureCondition result[0] > 5 was not evaluated", j.message)
		}
	}

	metric := errorRate()
	metric.RequireData = true
	p := play(t, runOf(metric), scalars(nan)).toEnd()
	assert.Equal(t, inconclusive, p.run.Status.Phase)
	assert.Equal(t, `Metric "error-rate" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): `+
		`"Error Message: result is not a number: NaN; requireData is set; failureCondition result > 5 was not evaluated"`, p.run.Status.Message)
}

// TestTheLargestRunFitsIntoItsStatus: as many metrics as are allowed, each with
// as much as a provider can say, all of them in flight at once.
func TestTheLargestRunFitsIntoItsStatus(t *testing.T) {
	run := runOf()
	for i := range 128 {
		run.Spec.Metrics = append(run.Spec.Metrics, errorRate(every("10s", 3), called(fmt.Sprintf("%0253d", i))))
	}
	require.NoError(t, runspec.Validate(run.Spec))
	huge := strings.Repeat("x", 1<<20)
	asked := map[string]int{}
	p := play(t, run, func(_, id string) (Answer, error) {
		said := map[string]string{"a": huge, "b": huge, "c": huge, "d": huge, "e": huge}
		a := Answer{Message: huge, Metadata: said, ResultMetadata: said}
		if asked[id]++; asked[id] == 1 {
			a.Pending = &Pending{State: []byte(strings.Repeat("s", maxState)), ResumeAfter: time.Second}
		} else {
			a.Verdict = &Verdict{Phase: successful, Value: huge}
		}
		return a, nil
	})
	passes, largest := 0, 0
	for !p.run.Status.Phase.Completed() {
		passes++
		require.Less(t, passes, 100)
		plan := p.pass()
		for name, call := range p.calls {
			bounded(call.Result)
			p.calls[name] = call
		}
		raw, err := json.Marshal(p.run.Status)
		require.NoError(t, err)
		largest = max(largest, len(raw))
		require.LessOrEqual(t, len(raw), maxStatus)
		for _, r := range p.run.Status.MetricResults {
			if last := lastOf(&r); last.FinishedAt == nil {
				require.Len(t, stateOf(*last), maxState, "the state of what is in flight stays whole")
			}
		}
		if len(plan.Ops) == 0 && !plan.Wake.IsZero() {
			p.now = plan.Wake
		}
	}
	t.Logf("largest status %d KiB", largest>>10)
	assert.Equal(t, successful, p.run.Status.Phase)

	run.Spec.Metrics = append(run.Spec.Metrics, errorRate(called("one-more")))
	assert.ErrorContains(t, runspec.Validate(run.Spec), "129 metrics specified, at most 128")
	assert.ErrorContains(t, runspec.Validate(runOf(errorRate(called(strings.Repeat("x", 254)))).Spec), "name has 254 bytes")
}
