package analysis

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

const (
	pending      = v1alpha1.AnalysisPhasePending
	running      = v1alpha1.AnalysisPhaseRunning
	successful   = v1alpha1.AnalysisPhaseSuccessful
	failed       = v1alpha1.AnalysisPhaseFailed
	inconclusive = v1alpha1.AnalysisPhaseInconclusive
	errored      = v1alpha1.AnalysisPhaseError
)

func limits(change func(*runspec.Limits)) runspec.Limits {
	l := runspec.Limits{ConsecutiveErrorLimit: v1alpha1.DefaultConsecutiveErrorLimit}
	change(&l)
	return l
}

func upTo(count int32) *int32 { return &count }

func TestMetricVerdicts(t *testing.T) {
	fail := func(n int32) runspec.Limits { return limits(func(l *runspec.Limits) { l.FailureLimit = n }) }
	doubt := func(n int32) runspec.Limits { return limits(func(l *runspec.Limits) { l.InconclusiveLimit = n }) }
	streak := func(fails, successes int32, count *int32) runspec.Limits {
		return limits(func(l *runspec.Limits) {
			l.FailureLimit, l.ConsecutiveSuccessLimit, l.Count = fails, successes, count
		})
	}
	for _, c := range []struct {
		story   string
		limits  runspec.Limits
		history string
		ending  bool
		want    v1alpha1.AnalysisPhase
	}{
		{"nothing measured", fail(0), "", false, pending},
		{"nothing measured, told to end", fail(0), "", true, successful},
		{"in flight", fail(0), "FFR", false, running},
		{"3 failures, limit 2", fail(2), "FFF", false, failed},
		{"3 failures, limit 2, ending", fail(2), "FFF", true, failed},
		{"3 failures, limit 3", fail(3), "FFF", false, running},
		{"3 failures, limit 3, ending", fail(3), "FFF", true, successful},
		{"3 inconclusive, limit 2", doubt(2), "III", false, inconclusive},
		{"3 inconclusive, limit 3", doubt(3), "III", false, running},
		{"3 inconclusive, limit 3, ending", doubt(3), "III", true, successful},
		{"5 errors in a row", fail(0), "EEEEE", false, errored},
		{"4 errors in a row", fail(0), "EEEE", false, running},
		{"4 errors, a success, 4 errors", fail(0), "EEEESEEEE", false, running},
		{"error beats inconclusive beats failed", fail(0), "FIEEEEE", false, errored},
		{"inconclusive beats failed", fail(0), "FI", false, inconclusive},
		{"any number of failures", streak(-1, 3, nil), "FFFFFFF", false, running},
		{"3 in a row of 3", streak(-1, 3, nil), "FFSFSSS", false, successful},
		{"3 in a row of 5", streak(-1, 5, nil), "FFSFSSS", false, running},
		{"3 in a row of 5, count 7 reached", streak(-1, 5, upTo(7)), "FFSFSSS", false, failed},
		{"3 in a row of 5, count 9 not reached", streak(-1, 5, upTo(9)), "FFSFSSS", false, running},
		{"both limits 4: failed over the limit", streak(4, 4, upTo(20)), "FFFFF", false, failed},
		{"both limits 4: failed over the limit, then 4 in a row", streak(4, 4, upTo(20)), "FFFFFSSSS", false, failed},
		{"both limits 4: count reached with neither", streak(4, 4, upTo(10)), "SSFSSFSSFS", false, inconclusive},
		{"count 10 reached with successes", limits(func(l *runspec.Limits) { l.Count = upTo(10) }), "SSSSSSSSSS", false, successful},
		{"count 10 reached with 5 inconclusive", limits(func(l *runspec.Limits) { l.Count = upTo(10) }), "SSSSSIIIII", false, inconclusive},
		{"errors do not count", limits(func(l *runspec.Limits) { l.Count = upTo(3) }), "SESE", false, running},
	} {
		t.Run(c.story, func(t *testing.T) {
			got, _ := assessMetric(c.limits, finished(c.history), c.ending)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestSeverityAcrossMetrics(t *testing.T) {
	order := []v1alpha1.AnalysisPhase{successful, running, pending, inconclusive, errored, failed}
	for i := 1; i < len(order); i++ {
		assert.Greater(t, severity[order[i]], severity[order[i-1]], order[i])
	}
}
