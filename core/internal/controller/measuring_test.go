package controller

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// thermometer is a metric provider that looks at the route "web".
type thermometer struct {
	warns                 string
	invalid               *rollout.Problem
	validations, measures int
}

func (g *thermometer) Grant() rollout.Grant { return rollout.Grant{} }

func (g *thermometer) ValidateOnce(_ context.Context, req analysis.Request) ([]rollout.Need, string, error) {
	g.validations++
	if len(req.Inputs) > 0 && g.invalid != nil {
		return nil, "", g.invalid
	}
	return []rollout.Need{need("web")}, g.warns, nil
}

func (g *thermometer) Measure(context.Context, analysis.Request) (analysis.Answer, error) {
	g.measures++
	one := 1.0
	return analysis.Answer{Value: &analysis.Value{Scalar: &one}, Needs: []rollout.Need{need("web")}}, nil
}

func (g *thermometer) CancelOnce(context.Context, analysis.Request) (plugins.Cleanup, error) {
	return plugins.Cleanup{Done: true}, nil
}

func (g *thermometer) CollectOnce(context.Context, analysis.Request, []string) (plugins.Cleanup, error) {
	return plugins.Cleanup{Done: true}, nil
}

func measuring(g *thermometer) (*Measuring, analysis.Provider) {
	m := NewMeasuring(func(string) (MetricPlugin, *rollout.Problem) { return g, nil }, newWorld("web"))
	provider, _ := m.Provider("test/thermometer")
	return m, provider
}

func measurement(metric string, state []byte) analysis.Request {
	run := &v1alpha1.AnalysisRun{}
	run.Namespace, run.Name, run.UID = "shop", "check", "uid-1"
	return analysis.Request{Run: run, Plugin: "test/thermometer", Metric: v1alpha1.Metric{Name: metric}, State: state}
}

// A metric is checked before it is measured, once in a run, with the objects
// its configuration names.
func TestAMetricIsCheckedBeforeItIsMeasured(t *testing.T) {
	g := &thermometer{warns: "old is called new"}
	m, provider := measuring(g)
	for range 3 {
		answer, err := provider.Measure(t.Context(), measurement("errors", nil))
		require.NoError(t, err)
		assert.Equal(t, "old is called new", answer.Warning)
	}
	assert.Equal(t, 2, g.validations, "without the object it names, and with it")
	assert.Equal(t, 3, g.measures)

	_, err := provider.Measure(t.Context(), measurement("latency", nil))
	require.NoError(t, err)
	assert.Equal(t, 4, g.validations, "another metric")

	m.Forget(types.NamespacedName{Namespace: "shop", Name: "check"})
	assert.Empty(t, m.valid)
}

// What is wrong is not measured; what is corrected meanwhile, such as a plugin's
// own settings, is.
func TestAMetricThatIsWrongIsNotMeasured(t *testing.T) {
	g := &thermometer{invalid: &rollout.Problem{Class: rollout.ProblemInvalid, Message: "query: missing"}}
	_, provider := measuring(g)
	_, err := provider.Measure(t.Context(), measurement("errors", nil))
	require.EqualError(t, err, "query: missing")
	assert.Zero(t, g.measures)
	g.invalid = nil
	_, err = provider.Measure(t.Context(), measurement("errors", nil))
	require.NoError(t, err)
}

// A measurement that is under way is not stopped by a check after a restart.
func TestAMeasurementUnderWayIsNotChecked(t *testing.T) {
	g := &thermometer{invalid: &rollout.Problem{Class: rollout.ProblemInvalid, Message: "query: missing"}}
	_, provider := measuring(g)
	_, err := provider.Measure(t.Context(), measurement("errors", []byte("state")))
	require.NoError(t, err)
	assert.Zero(t, g.validations)
}
