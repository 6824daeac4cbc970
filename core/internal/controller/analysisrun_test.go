package controller

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var runKey = types.NamespacedName{Namespace: "shop", Name: "check"}

// runDesk is a reconciler with an API server, a cache that can lag behind it,
// and a provider that answers with a number.
type runDesk struct {
	*AnalysisRuns
	t      *testing.T
	api    client.WithWatch
	cached *v1alpha1.AnalysisRun // nil: the cache shows what the server has
	number float64
	news   chan types.NamespacedName
	now    time.Time

	mu      sync.Mutex
	asked   []string
	patches []string
	reasons []string
}

func newRunDesk(t *testing.T, run *v1alpha1.AnalysisRun) *runDesk {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	run.Namespace, run.Name, run.UID = runKey.Namespace, runKey.Name, "uid-1"
	d := &runDesk{t: t, news: make(chan types.NamespacedName, 10), now: time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)}
	d.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(run).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			data, err := patch.Data(obj)
			if err != nil {
				return err
			}
			d.patches = append(d.patches, string(data))
			return c.Patch(ctx, obj, patch, opts...)
		},
	}).Build()
	calls := analysis.NewCalls(analysis.Options{
		Providers: d, Secrets: secrets{d.api}, Now: func() time.Time { return d.now },
		Notify: func(run types.NamespacedName) { d.news <- run },
	})
	t.Cleanup(calls.Close)
	d.AnalysisRuns = &AnalysisRuns{
		Reader: d, Writer: d.api, Calls: calls, Events: d, Written: &observe.Written{}, Now: func() time.Time { return d.now },
	}
	return d
}

// Get implements client.Reader: the cache.
func (d *runDesk) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if d.cached != nil {
		d.cached.DeepCopyInto(obj.(*v1alpha1.AnalysisRun))
		return nil
	}
	return d.api.Get(ctx, key, obj, opts...)
}

// List implements client.Reader.
func (d *runDesk) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return d.api.List(ctx, list, opts...)
}

// Event implements AnalysisRunEvents.
func (d *runDesk) Event(_ runtime.Object, _, reason, _ string) { d.reasons = append(d.reasons, reason) }

// Provider implements analysis.Providers.
func (d *runDesk) Provider(string) (analysis.Provider, *rollout.Problem) { return d, nil }

// Measure implements analysis.Provider.
func (d *runDesk) Measure(_ context.Context, req analysis.Request) (analysis.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req.MeasurementID)
	return analysis.Answer{Value: &analysis.Value{Scalar: &d.number}}, nil
}

// Cancel implements analysis.Provider.
func (d *runDesk) Cancel(context.Context, analysis.Request) error { return nil }

// Collect implements analysis.Provider.
func (d *runDesk) Collect(context.Context, analysis.Request, []string) error { return nil }

func (d *runDesk) pass() ctrl.Result {
	d.t.Helper()
	result, err := d.Reconcile(context.Background(), ctrl.Request{NamespacedName: runKey})
	require.NoError(d.t, err)
	return result
}

func (d *runDesk) stored() *v1alpha1.AnalysisRun {
	d.t.Helper()
	var run v1alpha1.AnalysisRun
	require.NoError(d.t, d.api.Get(context.Background(), runKey, &run))
	return &run
}

func oneMetric() *v1alpha1.AnalysisRun {
	return &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{{
		Name: "error-rate", FailureCondition: "result > 5",
		Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Query: "errors"}},
	}}}}
}

func TestRunIsMeasuredOutsideOfTheWorker(t *testing.T) {
	d := newRunDesk(t, oneMetric())
	d.pass()
	assert.Equal(t, v1alpha1.AnalysisPhaseRunning, d.stored().Status.Phase, "written before the provider is asked")
	assert.Equal(t, runKey, <-d.news)
	d.pass()
	assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, d.stored().Status.Phase)
	assert.Equal(t, []string{"MetricSuccessful", "AnalysisRunSuccessful"}, d.reasons)
	assert.Equal(t, []string{"uid-1.error-rate.1"}, d.asked)

	for range 3 {
		assert.Zero(t, d.pass())
	}
	assert.Len(t, d.patches, 2, "a run at rest costs no write")
}

func TestPatchesHoldOnlyTheDifference(t *testing.T) {
	d := newRunDesk(t, oneMetric())
	d.pass()
	var patch map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.patches[0]), &patch))
	assert.Len(t, patch, 2)
	assert.Contains(t, patch, "status")
	assert.Equal(t, map[string]any{"resourceVersion": "999"}, patch["metadata"])
}

func TestAConflictLosesNoResult(t *testing.T) {
	d := newRunDesk(t, oneMetric())
	d.pass()
	<-d.news
	d.cached = d.stored()
	other := d.stored()
	other.Labels = map[string]string{"touched": "by somebody"}
	require.NoError(t, d.api.Update(context.Background(), other))

	assert.Equal(t, behind, d.pass().RequeueAfter)
	assert.Empty(t, d.reasons, "events follow the write")
	d.cached = nil
	d.pass()
	assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, d.stored().Status.Phase)
	assert.EqualValues(t, 1, d.stored().Status.MetricResults[0].Count)
	assert.Len(t, d.asked, 1, "the result was kept")
}

func TestACacheBehindOurOwnWriteIsNotActedOn(t *testing.T) {
	run := oneMetric()
	d := newRunDesk(t, run)
	before := d.stored()
	d.pass()
	<-d.news
	d.cached = before
	assert.Equal(t, behind, d.pass().RequeueAfter)
	assert.Len(t, d.patches, 1)
	assert.Len(t, d.asked, 1)
}

func TestALostResultIsTakenAgainUnderTheSameID(t *testing.T) {
	d := newRunDesk(t, oneMetric())
	d.pass()
	<-d.news
	d.Calls.Drop(runKey) // the controller restarts before the result is written
	d.pass()
	<-d.news
	d.pass()
	assert.Equal(t, []string{"uid-1.error-rate.1", "uid-1.error-rate.1"}, d.asked)
	assert.EqualValues(t, 1, d.stored().Status.MetricResults[0].Count)
}

func TestAMalformedRunEndsWithTheNameOfTheField(t *testing.T) {
	d := newRunDesk(t, oneMetric())
	d.cached = d.stored()
	d.cached.Malformed = []v1alpha1.MalformedField{{Path: "spec.metrics[0].provider.job.spec.template.spec.containers[0].resources.requests[memory]", Problem: "not a quantity"}}
	d.pass()
	s := d.stored().Status
	assert.Equal(t, v1alpha1.AnalysisPhaseError, s.Phase)
	assert.Contains(t, s.Message, "resources.requests[memory] cannot be read: not a quantity")
	assert.NotContains(t, d.patches[0], `"spec":`, "what did not decode survives")
	assert.Empty(t, d.asked)
}

func TestARunIsDeletedWhenItsTimeIsOver(t *testing.T) {
	run := oneMetric()
	seconds := int32(30)
	run.Spec.TTLStrategy = &v1alpha1.TTLStrategy{SecondsAfterCompletion: &seconds}
	d := newRunDesk(t, run)
	d.pass()
	<-d.news
	assert.Equal(t, 31*time.Second, d.pass().RequeueAfter)
	d.now = d.now.Add(31 * time.Second)
	d.pass()
	err := d.api.Get(context.Background(), runKey, &v1alpha1.AnalysisRun{})
	assert.True(t, apierrors.IsNotFound(err))
	assert.Zero(t, d.pass(), "its going is no error")
}

func TestADeletingRunIsLeftAlone(t *testing.T) {
	run := oneMetric()
	d := newRunDesk(t, run)
	d.cached = d.stored()
	d.cached.DeletionTimestamp = &metav1.Time{Time: d.now}
	d.pass()
	assert.Empty(t, d.patches)
	assert.Empty(t, d.asked)
}
