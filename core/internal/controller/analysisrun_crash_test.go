package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// runBench plays a run with the real calls against a store that can lose a write.
// A process that crashes loses its calls and their results with it.
type runBench struct {
	t      *testing.T
	store  client.WithWatch
	now    time.Time
	writes int
	fault  func(n int) error

	reconciler *AnalysisRuns
	calls      *analysis.Calls
	news       chan types.NamespacedName

	mu sync.Mutex
	// answers given by measurement id; jobs that were started, by id.
	answers map[string]int
	jobs    map[string]bool
}

func newRunBench(t *testing.T, run *v1alpha1.AnalysisRun) *runBench {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	run.Namespace, run.Name, run.UID = runKey.Namespace, runKey.Name, "uid-1"
	b := &runBench{t: t, now: time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC), answers: map[string]int{}, jobs: map[string]bool{}}
	b.store = fake.NewClientBuilder().WithScheme(scheme).WithObjects(run).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			b.writes++
			fault := b.fault(b.writes)
			if errors.Is(fault, errRefused) {
				return fault
			}
			if err := c.Patch(ctx, obj, patch, opts...); err != nil {
				return err
			}
			return fault
		},
	}).Build()
	b.start()
	return b
}

func (b *runBench) start() {
	b.news = make(chan types.NamespacedName, 100)
	news := b.news
	b.calls = analysis.NewCalls(analysis.Options{
		Providers: b, Secrets: secrets{b.store}, Now: func() time.Time { return b.now },
		Notify: func(run types.NamespacedName) { news <- run },
	})
	b.reconciler = &AnalysisRuns{
		Reader: b.store, Writer: b.store, Calls: b.calls, Events: b, Written: &observe.Written{}, Now: func() time.Time { return b.now },
	}
}

// Event implements AnalysisRunEvents.
func (b *runBench) Event(runtime.Object, string, string, string) {}

// Provider implements analysis.Providers.
func (b *runBench) Provider(string) (analysis.Provider, *rollout.Problem) { return b, nil }

// Measure implements analysis.Provider: "jobs" take two calls, as a Job does.
func (b *runBench) Measure(_ context.Context, req analysis.Request) (analysis.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if req.Metric.Name == "jobs" && req.State == nil {
		b.jobs[req.MeasurementID] = true
		return analysis.Answer{Pending: &analysis.Pending{State: []byte(req.MeasurementID), ResumeAfter: time.Second}}, nil
	}
	b.answers[req.MeasurementID]++
	one := 1.0
	return analysis.Answer{Value: &analysis.Value{Scalar: &one}}, nil
}

// Cancel implements analysis.Provider.
func (b *runBench) Cancel(context.Context, analysis.Request) error { return nil }

// Collect implements analysis.Provider.
func (b *runBench) Collect(context.Context, analysis.Request, []string) error { return nil }

func (b *runBench) stored() *v1alpha1.AnalysisRun {
	b.t.Helper()
	var run v1alpha1.AnalysisRun
	require.NoError(b.t, b.store.Get(context.Background(), runKey, &run))
	return &run
}

// toEnd plays until the run is over. Between passes it waits for the calls the
// pass has started, and for the clock when there are none.
func (b *runBench) toEnd() *v1alpha1.AnalysisRun {
	b.t.Helper()
	defer func() { b.calls.Close() }()
	for range 200 {
		fault := b.fault
		struck := false
		b.fault = func(n int) error {
			err := fault(n)
			struck = struck || err != nil
			return err
		}
		result, err := b.reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: runKey})
		b.fault = fault
		switch run := b.stored(); {
		case struck:
			require.Error(b.t, err)
			b.calls.Close()
			b.start()
			continue
		case run.Status.Phase.Completed():
			return run
		}
		require.NoError(b.t, err)
		if b.underWay() {
			<-b.news
			continue
		}
		require.NotZero(b.t, result.RequeueAfter, "a run that waits says until when")
		b.now = b.now.Add(result.RequeueAfter)
	}
	require.FailNow(b.t, "the run does not end")
	return nil
}

func (b *runBench) underWay() bool {
	for _, call := range b.calls.Of(b.stored()) {
		if call.Result == nil || call.Result.Waiting == "" {
			return true
		}
	}
	return false
}

// TestARunSurvivesACrashAtEveryWrite: whichever write is the last one a process
// makes, carried out or not, every measurement is counted once and only those
// that nobody has recorded are taken again, under the same id.
func TestARunSurvivesACrashAtEveryWrite(t *testing.T) {
	spec := func() *v1alpha1.AnalysisRun {
		five := intstr.FromInt32(5)
		metric := func(name string) v1alpha1.Metric {
			return v1alpha1.Metric{
				Name: name, FailureCondition: "result > 5", Interval: "10s", Count: &five,
				Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Query: name}},
			}
		}
		return &v1alpha1.AnalysisRun{Spec: v1alpha1.AnalysisRunSpec{Metrics: []v1alpha1.Metric{metric("ratio"), metric("jobs")}}}
	}
	clean := newRunBench(t, spec())
	clean.fault = func(int) error { return nil }
	clean.toEnd()
	require.Greater(t, clean.writes, 10)
	crashes, again := 0, 0
	for _, kind := range []error{errLost, errRefused} {
		for at := 1; at <= clean.writes; at++ {
			b := newRunBench(t, spec())
			b.fault = func(n int) error {
				if n == at {
					return kind
				}
				return nil
			}
			run := b.toEnd()
			if b.writes < at {
				continue // two results came together this time
			}
			crashes++
			name := fmt.Sprintf("%v at write %d", kind, at)
			assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, run.Status.Phase, name)
			for _, r := range run.Status.MetricResults {
				assert.EqualValues(t, 5, r.Count, name)
				assert.EqualValues(t, 5, r.Successful, name)
				assert.Len(t, r.Measurements, 5, name)
			}
			assert.Len(t, b.answers, 10, "%s: ids %v", name, b.answers)
			assert.Len(t, b.jobs, 5, "%s: jobs %v", name, b.jobs)
			for _, n := range b.answers {
				again += n - 1
			}
		}
	}
	require.Greater(t, crashes, 20)
	t.Logf("%d crashes, %d measurements taken again", crashes, again)
}
