package analysis

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func TestInvalidRunsEndAndExpire(t *testing.T) {
	for _, c := range []struct {
		change func(*v1alpha1.AnalysisRun)
		want   string
	}{
		{func(r *v1alpha1.AnalysisRun) { r.Spec.Metrics = nil }, "Analysis spec invalid: no metrics specified"},
		{func(r *v1alpha1.AnalysisRun) { r.Spec.Metrics[0].Count = number(2) },
			"Analysis spec invalid: metrics[0]: interval must be specified when count > 1"},
		{func(r *v1alpha1.AnalysisRun) { r.Spec.DryRun = []v1alpha1.DryRun{{MetricName: "*"}} },
			`Analysis spec invalid: dryRun[0]: Rule didn't match any metric name(s)`},
		{func(r *v1alpha1.AnalysisRun) {
			r.Malformed = []v1alpha1.MalformedField{{Path: "spec.metrics[0].provider.job.spec", Problem: "not a quantity"}}
		}, "Analysis spec invalid: spec.metrics[0].provider.job.spec cannot be read: not a quantity"},
	} {
		run := runOf(errorRate())
		seconds := int32(60)
		run.Spec.TTLStrategy = &v1alpha1.TTLStrategy{SecondsAfterCompletion: &seconds}
		c.change(run)
		p := play(t, run, scalars(1))
		p.pass()
		assert.Equal(t, errored, p.run.Status.Phase)
		assert.Contains(t, p.run.Status.Message, c.want)
		p.now = p.plan.Wake
		assert.True(t, p.pass().Delete, "an invalid run is not kept for ever")
	}
}

func TestTimeToLive(t *testing.T) {
	after := func(completion, failure, success int32) *v1alpha1.TTLStrategy {
		ttl := &v1alpha1.TTLStrategy{}
		for field, n := range map[**int32]int32{
			&ttl.SecondsAfterCompletion: completion, &ttl.SecondsAfterFailure: failure, &ttl.SecondsAfterSuccess: success,
		} {
			if n >= 0 {
				*field = &n
			}
		}
		return ttl
	}
	for _, c := range []struct {
		phase v1alpha1.AnalysisPhase
		ttl   *v1alpha1.TTLStrategy
		want  int // seconds; −1 never
	}{
		{successful, nil, -1},
		{successful, after(100, -1, -1), 100},
		{successful, after(100, 50, -1), 100},
		{successful, after(100, -1, 10), 10},
		{failed, after(100, 50, 10), 50},
		{failed, after(-1, -1, 10), -1},
		{errored, after(100, 50, 10), 100},
		{inconclusive, after(100, 50, 10), 100},
		{inconclusive, after(-1, 50, 10), -1},
		{running, after(1, 1, 1), -1},
	} {
		run := runOf(errorRate())
		run.Spec.TTLStrategy = c.ttl
		run.Status = v1alpha1.AnalysisRunStatus{Phase: c.phase, StartedAt: stamp(0), CompletedAt: stamp(0)}
		look := func(seconds int) Plan {
			return Decide(Snapshot{Now: epoch.Add(time.Duration(seconds) * time.Second), Run: run})
		}
		if c.want < 0 {
			assert.False(t, look(1_000_000).Delete, "%+v", c)
			continue
		}
		assert.False(t, look(c.want).Delete, "%+v", c)
		assert.Equal(t, epoch.Add(time.Duration(c.want+1)*time.Second), look(c.want).Wake)
		assert.True(t, look(c.want+1).Delete, "%+v", c)
	}
}

func TestHistoryIsTrimmedAndCollected(t *testing.T) {
	p := play(t, runOf(errorRate(every("10s", 14))), scalars(1)).toEnd()
	r := p.result("error-rate")
	assert.Len(t, r.Measurements, 10)
	assert.EqualValues(t, 14, r.Count, "counters keep what was trimmed")

	run := runOf(errorRate(every("10s", 14)))
	run.Spec.MeasurementRetention = []v1alpha1.MeasurementRetention{{MetricName: "error-.*", Limit: 2}}
	p = play(t, run, scalars(1))
	var collects []Op
	for !p.run.Status.Phase.Completed() {
		plan := p.pass()
		for _, op := range plan.Ops {
			if op.Verb == VerbCollect {
				collects = append(collects, op)
			}
		}
		if !plan.Wake.IsZero() {
			p.now = plan.Wake
		}
	}
	assert.Len(t, p.result("error-rate").Measurements, 2)
	require.NotEmpty(t, collects)
	assert.Equal(t, []string{"uid-1.error-rate.13", "uid-1.error-rate.14", "uid-1.error-rate.15"}, collects[len(collects)-1].Keep)
}

func TestStatusStaysSmall(t *testing.T) {
	run := runOf()
	for i := range 25 {
		run.Spec.Metrics = append(run.Spec.Metrics, errorRate(every("10s", 8), called(fmt.Sprintf("m%d", i))))
	}
	run.Spec.MeasurementRetention = []v1alpha1.MeasurementRetention{{MetricName: "m", Limit: 1000}}
	huge := strings.Repeat("x", 1<<20)
	p := play(t, run, func(string, string) (Answer, error) {
		one := 1.0
		return Answer{Value: &Value{Scalar: &one}, Message: huge, Metadata: map[string]string{"a": huge, "b": huge, "c": huge, "d": huge, "e": huge}}, nil
	})
	answer := p.answer
	p.answer = func(m, id string) (Answer, error) { return answer(m, id) }
	for !p.run.Status.Phase.Completed() {
		plan := p.pass()
		for name, call := range p.calls {
			bounded(call.Result)
			p.calls[name] = call
		}
		raw, err := json.Marshal(p.run.Status)
		require.NoError(t, err)
		require.LessOrEqual(t, len(raw), 512<<10)
		if len(plan.Ops) == 0 && !plan.Wake.IsZero() {
			p.now = plan.Wake
		}
	}
	assert.Equal(t, successful, p.run.Status.Phase)
}
