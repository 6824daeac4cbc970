package analysis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stage is a fake plugin host whose providers are functions.
type stage struct {
	measure func(ctx context.Context, req Request) (Answer, error)
	cancel  func(ctx context.Context, req Request) error
	problem *rollout.Problem
	secrets map[string]map[string][]byte
	down    error

	mu       sync.Mutex
	requests []Request
	news     chan types.NamespacedName
}

func (s *stage) Provider(string) (Provider, *rollout.Problem) {
	if s.problem != nil {
		return nil, s.problem
	}
	return s, nil
}

func (s *stage) Measure(ctx context.Context, req Request) (Answer, error) {
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	return s.measure(ctx, req)
}

func (s *stage) Cancel(ctx context.Context, req Request) error { return s.cancel(ctx, req) }

func (s *stage) Collect(context.Context, Request, []string) error { return nil }

func (s *stage) Secret(_ context.Context, namespace, name string) (map[string][]byte, error) {
	if s.down != nil {
		return nil, s.down
	}
	data, ok := s.secrets[namespace+"/"+name]
	if !ok {
		return nil, fmt.Errorf("get secret: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name))
	}
	return data, nil
}

func (s *stage) calls(t *testing.T) *Calls {
	s.news = make(chan types.NamespacedName, 1000)
	c := NewCalls(Options{
		Providers: s, Secrets: s, Now: func() time.Time { return epoch },
		Notify: func(run types.NamespacedName) { s.news <- run },
		Jitter: func() float64 { return 1 },
	})
	t.Cleanup(c.Close)
	return c
}

func named(name string, metrics ...v1alpha1.Metric) *v1alpha1.AnalysisRun {
	run := runOf(metrics...)
	run.Namespace, run.Name, run.UID = "shop", name, types.UID("uid-"+name)
	return run
}

func measureOp(run *v1alpha1.AnalysisRun, index int) Op {
	name := run.Spec.Metrics[index].Name
	return Op{Verb: VerbMeasure, Metric: name, Index: index, MeasurementID: measurementID(run, name, 1)}
}

func TestASlowProviderDelaysNobodyElse(t *testing.T) {
	release := make(chan struct{})
	one := 1.0
	s := &stage{measure: func(ctx context.Context, req Request) (Answer, error) {
		if req.Metric.Name == "slow" {
			<-release
		}
		return Answer{Value: &Value{Scalar: &one}}, nil
	}}
	c := s.calls(t)
	first := named("first", errorRate(called("slow")), errorRate(called("fast")))
	second := named("second", errorRate(called("fast")))
	c.Act(first, Plan{Ops: []Op{measureOp(first, 0), measureOp(first, 1)}})
	c.Act(second, Plan{Ops: []Op{measureOp(second, 0)}})
	got := map[string]bool{(<-s.news).Name: true, (<-s.news).Name: true}
	assert.Equal(t, map[string]bool{"first": true, "second": true}, got)
	assert.Nil(t, c.Of(first)["slow"].Result, "still under way")
	assert.Equal(t, successful, c.Of(first)["fast"].Result.Measurement.Phase)

	c.Act(first, Plan{Ops: []Op{measureOp(first, 0)}})
	close(release)
	<-s.news
	assert.Len(t, s.requests, 3, "a call under way is not made twice")
	assert.Equal(t, successful, c.Of(first)["slow"].Result.Measurement.Phase)
}

func TestAResultStaysUntilItWasRecorded(t *testing.T) {
	one := 1.0
	s := &stage{measure: func(context.Context, Request) (Answer, error) { return Answer{Value: &Value{Scalar: &one}}, nil }}
	c := s.calls(t)
	run := named("a", errorRate())
	op := measureOp(run, 0)
	c.Act(run, Plan{Ops: []Op{op}})
	<-s.news
	require.NotNil(t, c.Of(run)["error-rate"].Result)
	c.Act(run, Plan{}) // the status write conflicted, or recorded something else
	require.NotNil(t, c.Of(run)["error-rate"].Result)
	c.Act(run, Plan{Used: map[string]string{"error-rate": op.MeasurementID}})
	assert.Empty(t, c.Of(run))
	assert.Zero(t, c.len(), "nothing is left of it")
}

func TestRetriesWaitLongerAndLonger(t *testing.T) {
	s := &stage{measure: func(context.Context, Request) (Answer, error) { return Answer{}, errors.New("gone") }}
	c := s.calls(t)
	run := named("a", errorRate())
	var delays []time.Duration
	for range 8 {
		c.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
		<-s.news
		delays = append(delays, c.Of(run)["error-rate"].Result.RetryAt.Sub(epoch)/time.Second)
	}
	assert.Equal(t, []time.Duration{2, 4, 8, 16, 32, 60, 60, 60}, delays)

	s.measure = func(context.Context, Request) (Answer, error) {
		return Answer{}, &rollout.Problem{Class: rollout.ProblemUnavailable, Message: "restarting", Retry: 7 * time.Second}
	}
	c.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
	assert.Equal(t, "waiting for plugin prometheus: gone", c.Of(run)["error-rate"].waiting(), "while asking again")
	<-s.news
	assert.Equal(t, 7*time.Second, c.Of(run)["error-rate"].Result.RetryAt.Sub(epoch), "the plugin knows better")
	assert.Equal(t, []types.NamespacedName{{Namespace: "shop", Name: "a"}}, c.Waiting())
	assert.True(t, c.Of(run)["error-rate"].Result.RetryAt.IsZero(), "due at once when the plugin is back")
}

func TestWhatIsAnAnswerAndWhatIsNot(t *testing.T) {
	one := 1.0
	for _, c := range []struct {
		story   string
		answer  Answer
		err     error
		problem *rollout.Problem
		waiting string
		message string
	}{
		{story: "not installed", problem: &rollout.Problem{Class: rollout.ProblemUnavailable, Message: "not in the catalog"},
			waiting: "waiting for plugin prometheus: not in the catalog"},
		{story: "refused", err: &rollout.Problem{Class: rollout.ProblemRefused, Message: "no licence"},
			waiting: "waiting for plugin prometheus: no licence"},
		{story: "invalid", err: &rollout.Problem{Class: rollout.ProblemInvalid, Path: "query", Message: "unknown field"},
			message: "query: unknown field"},
		{story: "nothing", waiting: "waiting for plugin prometheus: its answer holds 0 outcomes instead of one"},
		{story: "two things", answer: Answer{Value: &Value{Scalar: &one}, Err: errors.New("x")},
			waiting: "waiting for plugin prometheus: its answer holds 2 outcomes instead of one"},
		{story: "an odd verdict", answer: Answer{Verdict: &Verdict{Phase: "Fine"}},
			waiting: `waiting for plugin prometheus: its verdict is "Fine"`},
		{story: "needs", answer: Answer{Needs: []rollout.Need{{Kind: "Job"}}},
			waiting: "waiting for plugin prometheus: it asks for Kubernetes objects, which are not served to metric providers here"},
		{story: "asked and failed", answer: Answer{Err: errors.New("HTTP 500")}, message: "HTTP 500"},
		{story: "empty value", answer: Answer{Value: &Value{}}, message: "the provider answered with an empty value"},
		{story: "broken JSON", answer: Answer{Value: &Value{JSON: []byte("{")}}, message: "the answer is not JSON: unexpected EOF"},
		{story: "huge JSON", answer: Answer{Value: &Value{JSON: make([]byte, 2<<20)}}, message: "the answer has 2097152 bytes, at most 1048576 are judged; select less of it"},
	} {
		t.Run(c.story, func(t *testing.T) {
			s := &stage{problem: c.problem, measure: func(context.Context, Request) (Answer, error) { return c.answer, c.err }}
			calls := s.calls(t)
			run := named("a", errorRate())
			calls.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
			<-s.news
			r := calls.Of(run)["error-rate"].Result
			assert.Equal(t, c.waiting, r.Waiting)
			if c.message != "" {
				require.NotNil(t, r.Measurement)
				assert.Equal(t, errored, r.Measurement.Phase)
				assert.Equal(t, c.message, r.Measurement.Message)
			}
		})
	}
}

// An entry of the plugin ConfigMap may give each of its calls up to 5 min.
func TestTheHostsDeadlineComesFirst(t *testing.T) {
	var left time.Duration
	note := func(ctx context.Context) {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
	}
	s := &stage{
		measure: func(ctx context.Context, _ Request) (Answer, error) {
			note(ctx)
			return Answer{Err: errors.New("x")}, nil
		},
		cancel: func(ctx context.Context, _ Request) error {
			note(ctx)
			return nil
		},
	}
	c := s.calls(t)
	for i, verb := range []Verb{VerbMeasure, VerbCancel} {
		run := named(fmt.Sprint(i), errorRate())
		op := measureOp(run, 0)
		op.Verb = verb
		c.Act(run, Plan{Ops: []Op{op}})
		<-s.news
		assert.Greater(t, left, 5*time.Minute)
		assert.Less(t, left, 6*time.Minute)
	}
}

func TestAPanicInAProviderIsNoAnswer(t *testing.T) {
	s := &stage{measure: func(context.Context, Request) (Answer, error) { panic("boom") }}
	c := s.calls(t)
	run := named("a", errorRate())
	c.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
	<-s.news
	assert.Equal(t, "waiting: measuring error-rate failed: boom", c.Of(run)["error-rate"].Result.Waiting)
}

func TestCancelEndsTheCallUnderWayFirst(t *testing.T) {
	began := make(chan struct{})
	var order []string
	s := &stage{
		measure: func(ctx context.Context, _ Request) (Answer, error) {
			close(began)
			<-ctx.Done()
			order = append(order, "measure ended")
			return Answer{}, ctx.Err()
		},
		cancel: func(_ context.Context, req Request) error {
			order = append(order, "cancel "+req.MeasurementID)
			return nil
		},
	}
	c := s.calls(t)
	run := named("a", errorRate())
	op := measureOp(run, 0)
	c.Act(run, Plan{Ops: []Op{op}})
	<-began
	op.Verb = VerbCancel
	c.Act(run, Plan{Ops: []Op{op}})
	<-s.news
	assert.Equal(t, []string{"measure ended", "cancel uid-a.error-rate.1"}, order)
	assert.Equal(t, Call{Verb: VerbCancel, MeasurementID: "uid-a.error-rate.1", Result: &Result{}}, c.Of(run)["error-rate"])
	assert.Empty(t, s.news, "the result of the ended call is nobody's")
}

func TestARunOfTheSameNameStartsAfresh(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	s := &stage{measure: func(ctx context.Context, _ Request) (Answer, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return Answer{}, ctx.Err()
	}}
	c := s.calls(t)
	old := named("a", errorRate())
	c.Act(old, Plan{Ops: []Op{measureOp(old, 0)}})
	<-began
	young := named("a", errorRate())
	young.UID = "other"
	assert.Empty(t, c.Of(young))
	<-ended

	c.Act(young, Plan{})
	c.Drop(keyOf(young))
	assert.Zero(t, c.len())
}

func TestCloseEndsEveryCall(t *testing.T) {
	s := &stage{measure: func(ctx context.Context, _ Request) (Answer, error) {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}}
	c := s.calls(t)
	for i := range 100 {
		run := named(fmt.Sprintf("r%d", i), errorRate())
		c.Act(run, Plan{Ops: []Op{measureOp(run, 0)}})
	}
	c.Close()
	assert.Empty(t, s.news, "results that come while stopping are dropped")
}
