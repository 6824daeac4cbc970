package analysis

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/condition"
)

// maxJSON bounds a document a condition is evaluated on.
const maxJSON = 1 << 20

// Evidence is what a measurement that was not successful showed.
type Evidence struct {
	// Seen is such as "7.2 > 5"; Condition such as "failureCondition result > 5".
	// Both are empty when no condition decided.
	Seen, Condition string
}

// sentence is what the metric's result says in the end, such as
// "error-rate: 7.2 > 5 in 3 of 3 measurements (failureCondition result > 5)".
func (e Evidence) sentence(r v1alpha1.MetricResult, phase v1alpha1.AnalysisPhase) string {
	n := r.Failed
	if phase == v1alpha1.AnalysisPhaseInconclusive {
		n = r.Inconclusive
	}
	return fmt.Sprintf("%s: %s in %d of %d measurements (%s)", r.Name, e.Seen, n, r.Count, e.Condition)
}

// judgement is what the conditions of a metric say about a value.
type judgement struct {
	phase v1alpha1.AnalysisPhase
	// value as shown in the measurement.
	value string
	// message names what kept the conditions from being evaluated, or that
	// there was no data; "" otherwise.
	message  string
	evidence Evidence
}

// judge evaluates the conditions of a resolved metric.
func judge(metric v1alpha1.Metric, value Value, hide redactor) judgement {
	result, err := value.result()
	if err != nil {
		return judgement{phase: v1alpha1.AnalysisPhaseError, message: err.Error()}
	}
	j := judgement{value: value.text(result)}
	success, failure := clause{name: "successCondition", source: metric.SuccessCondition}, clause{name: "failureCondition", source: metric.FailureCondition}
	if what := noData(result); metric.RequireData && what != "" {
		j.phase, j.message = v1alpha1.AnalysisPhaseInconclusive, hide.text(unjudged(what, hide, success, failure))
		return j
	}
	for _, c := range []*clause{&success, &failure} {
		if err := c.eval(result, hide); err != nil {
			j.phase, j.message = v1alpha1.AnalysisPhaseError, err.Error()
			return j
		}
	}
	switch {
	case failure.holds:
		j.phase, j.evidence = v1alpha1.AnalysisPhaseFailed, Evidence{failure.seen, failure.label()}
	case success.holds || success.source == "":
		j.phase = v1alpha1.AnalysisPhaseSuccessful
	case failure.source == "":
		j.phase, j.evidence = v1alpha1.AnalysisPhaseFailed, Evidence{"not " + success.seen, success.label()}
	default:
		j.phase = v1alpha1.AnalysisPhaseInconclusive
		j.evidence = Evidence{"neither " + success.seen + " nor " + failure.seen, success.label() + ", " + failure.label()}
	}
	j.message = hide.text(lacking(result, success, failure))
	return j
}

// clause is one condition with what it said.
type clause struct {
	name, source string
	holds        bool
	// shown and seen are the source and what it compared, as people see them:
	// without secrets, and then not too long.
	shown, seen string
}

const (
	maxShown = 200
	maxSeen  = 160
)

func (c clause) label() string { return c.name + " " + c.shown }

// eval evaluates the condition, if there is one.
func (c *clause) eval(result any, hide redactor) error {
	if c.source == "" {
		return nil
	}
	c.shown = condition.Shorten(hide.text(c.source), maxShown)
	outcome, err := condition.Eval(c.source, result)
	if err != nil {
		return fmt.Errorf("%s %q: %w", c.name, c.shown, err)
	}
	c.holds, c.seen = outcome.True, condition.Shorten(hide.text(outcome.Seen), maxSeen)
	return nil
}

// lacking names a result that holds no data, with what the conditions made of
// it. Comparing with NaN is false, so that a failureCondition alone lets it
// pass: people have to be able to see that.
func lacking(result any, clauses ...clause) string {
	what := noData(result)
	if what == "" {
		return ""
	}
	for _, c := range clauses {
		if c.source != "" {
			what += fmt.Sprintf("; %s is %t", c.label(), c.holds)
		}
	}
	return what
}

// noData says how a result holds no data, "" when it does.
func noData(result any) string {
	switch {
	case condition.Missing(result):
		return "no data was returned: result is " + condition.Format(result)
	case hasNaN(result):
		return "result is not a number: " + condition.Shorten(condition.Format(result), 80)
	}
	return ""
}

// unjudged names the conditions that a metric with requireData did not put to a
// result without data.
func unjudged(what string, hide redactor, clauses ...clause) string {
	what += "; requireData is set"
	for _, c := range clauses {
		if c.source != "" {
			what += fmt.Sprintf("; %s %s was not evaluated", c.name, condition.Shorten(hide.text(c.source), maxShown))
		}
	}
	return what
}

func hasNaN(result any) bool {
	switch v := result.(type) {
	case float64:
		return math.IsNaN(v)
	case []float64:
		return slices.ContainsFunc(v, math.IsNaN)
	}
	return false
}

// result is the value as conditions see it.
func (v Value) result() (any, error) {
	switch {
	case v.Scalar != nil:
		return *v.Scalar, nil
	case v.Vector != nil:
		return v.Vector, nil
	case v.Text != nil:
		return *v.Text, nil
	case len(v.JSON) > maxJSON:
		return nil, fmt.Errorf("the answer has %d bytes, at most %d are judged; select less of it", len(v.JSON), maxJSON)
	case v.JSON != nil:
		return condition.Decode(v.JSON)
	}
	return nil, errors.New("the provider answered with an empty value")
}

// text is the value as the measurement shows it; JSON is shown as it came.
func (v Value) text(result any) string {
	if v.JSON != nil {
		return strings.TrimSpace(string(v.JSON))
	}
	return condition.Format(result)
}
