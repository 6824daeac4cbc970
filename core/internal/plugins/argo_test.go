package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var buildArgo = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(evil), "argo")
	out, err := exec.Command("go", "build", "-o", path, "./argoplugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// argoWorld is a host whose ConfigMap lists the net/rpc plugin for all three
// kinds, as Argo Rollouts' would.
type argoWorld struct {
	*world
	calls string
}

func newArgoWorld(t *testing.T, tune func(*timing), wrong string) *argoWorld {
	t.Helper()
	path, err := buildArgo()
	require.NoError(t, err)
	w := &argoWorld{world: newWorld(t, tune), calls: filepath.Join(t.TempDir(), "calls")}
	entry := fmt.Sprintf("- {name: test/argo, location: 'file://%s', args: ['%s', '%s']}", path, w.calls, wrong)
	w.SetConfig(map[string]string{"trafficRouterPlugins": entry, "metricProviderPlugins": entry, "stepPlugins": entry})
	return w
}

// called returns the calls since the last time.
func (w *argoWorld) called() []string {
	raw, _ := os.ReadFile(w.calls)
	_ = os.Remove(w.calls)
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' })
}

func argoRollout() *v1alpha1.Rollout {
	ro := &v1alpha1.Rollout{}
	ro.Namespace, ro.Name, ro.UID = "shop", "web", "u1"
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{TrafficRouting: &v1alpha1.RolloutTrafficRouting{
		Plugins: map[string]json.RawMessage{"test/argo": json.RawMessage(`{"route":"web"}`)},
	}}
	return ro
}

func argoTraffic(weight int32, managed ...rollout.ManagedRoute) *rollout.Traffic {
	return &rollout.Traffic{
		TotalWeight: 100, Managed: managed, ManagedNames: []string{"beta", "shadow"},
		Destinations: []rollout.Destination{
			{Role: rollout.RoleStable, Service: "web", Hash: "aaa", Weight: 100 - weight},
			{Role: rollout.RoleCanary, Service: "web-canary", Hash: "bbb", Weight: weight},
		},
	}
}

var (
	beta   = rollout.ManagedRoute{Name: "beta", Header: []rollout.HeaderMatch{{Name: "X-Beta", Value: rollout.StringMatch{Exact: "yes"}}}}
	shadow = rollout.ManagedRoute{Name: "shadow", Mirror: &rollout.MirrorRoute{
		Percentage: 5, Match: []rollout.RouteMatch{{Path: &rollout.StringMatch{Prefix: "/api"}}},
	}}
)

func TestArgoRouter(t *testing.T) {
	w := newArgoWorld(t, nil, "")
	r := w.router("test/argo")
	capabilities, problem := r.Capabilities(context.Background())
	require.Nil(t, problem)
	assert.False(t, capabilities.Observe)
	assert.True(t, capabilities.HeaderRoutes && capabilities.MirrorRoutes && capabilities.ExternalEffects)
	assert.Equal(t, []string{"InitPlugin"}, w.called())
	assert.Contains(t, w.waitEvent(EventUnpinned, "test/argo").Message, "add sha256")

	ro := argoRollout()
	route := func(req rollout.RouteRequest) rollout.RouteAnswer {
		t.Helper()
		req.Rollout = ro
		answer, problem := r.Route(context.Background(), req)
		require.Nil(t, problem, "%v", problem)
		return answer
	}
	answer := route(rollout.RouteRequest{Desired: argoTraffic(10, beta)})
	assert.Equal(t, rollout.ConvergenceDone, answer.Convergence)
	assert.Equal(t, []string{
		"UpdateHash web canary=bbb stable=aaa extra=[]", `SetWeight 10 {"route":"web"}`,
		"RemoveManagedRoutes", "SetHeaderRoute beta X-Beta=yes", "VerifyWeight 10",
	}, w.called(), "this process does not know what an earlier one left, so it starts from nothing")

	route(rollout.RouteRequest{Desired: argoTraffic(10, beta, shadow)})
	assert.Equal(t, []string{
		"UpdateHash web canary=bbb stable=aaa extra=[]", `SetWeight 10 {"route":"web"}`,
		"SetHeaderRoute beta X-Beta=yes", "SetMirrorRoute shadow 5% of /api", "VerifyWeight 10",
	}, w.called(), "a growing set is only set")
	route(rollout.RouteRequest{Desired: argoTraffic(20, beta, shadow)})
	assert.NotContains(t, strings.Join(w.called(), " "), "Route", "an unchanged set is left alone")
	route(rollout.RouteRequest{Desired: argoTraffic(20, shadow)})
	assert.Equal(t, []string{"RemoveManagedRoutes", "SetMirrorRoute shadow 5% of /api"}, w.called()[2:4], "a shrinking one is set anew")

	nothing := shadow
	nothing.Mirror = &rollout.MirrorRoute{Match: shadow.Mirror.Match}
	route(rollout.RouteRequest{Desired: argoTraffic(20, nothing)})
	assert.Equal(t, []string{"RemoveManagedRoutes", "VerifyWeight 20"}, w.called()[2:],
		"0 % would arrive as no percentage, which is 100 %")

	route(rollout.RouteRequest{Desired: argoTraffic(20), Verify: true})
	assert.Equal(t, []string{"VerifyWeight 20"}, w.called())

	ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Canary: v1alpha1.WeightDestination{Weight: 20}}
	route(rollout.RouteRequest{Desired: argoTraffic(0)})
	assert.Equal(t, []string{`SetWeight 0 {"route":"web"}`, "UpdateHash web canary=bbb stable=aaa extra=[]", `SetWeight 0 {"route":"web"}`, "VerifyWeight 0"},
		w.called(), "weight is taken off before hashes move")
	route(rollout.RouteRequest{Release: &rollout.Release{TotalWeight: 100, ManagedNames: []string{"beta"}}})
	assert.Equal(t, []string{`SetWeight 0 {"route":"web"}`, `SetWeight 0 {"route":"web"}`}, w.called())
}

func TestArgoRouterFaults(t *testing.T) {
	route := func(w *argoWorld) *rollout.Problem {
		_, problem := w.router("test/argo").Route(context.Background(), rollout.RouteRequest{Rollout: argoRollout(), Desired: argoTraffic(10)})
		return problem
	}
	t.Run("an error", func(t *testing.T) {
		w := newArgoWorld(t, nil, "error:SetWeight")
		problem := route(w)
		require.NotNil(t, problem)
		assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
		assert.Contains(t, problem.Message, "SetWeight: no SetWeight today")
	})
	t.Run("a hang ends the process", func(t *testing.T) {
		w := newArgoWorld(t, func(t *timing) { t.route = 500 * time.Millisecond }, "hang:SetWeight")
		_, problem := w.router("test/argo").Capabilities(context.Background())
		require.Nil(t, problem)
		pid := w.pid("test/argo")
		problem = route(w)
		require.NotNil(t, problem)
		assert.Equal(t, `plugin "test/argo" did not answer TrafficRouter/Route in time`, problem.Message)
		w.waitEvent(EventFailed, "it did not answer SetWeight in time, and a net/rpc call cannot be cancelled")
		w.eventually("another process", func() bool { now := w.pid("test/argo"); return now != 0 && now != pid })
		assert.False(t, alive(pid))
	})
	t.Run("a crash", func(t *testing.T) {
		w := newArgoWorld(t, nil, "exit:SetWeight")
		problem := route(w)
		require.NotNil(t, problem)
		assert.Contains(t, problem.Message, "the connection to its process broke")
		w.waitEvent(EventFailed, "exit status 9")
	})
	t.Run("it stands still", func(t *testing.T) {
		w := newArgoWorld(t, func(t *timing) { t.health = 100 * time.Millisecond }, "")
		_, problem := w.router("test/argo").Capabilities(context.Background())
		require.Nil(t, problem)
		pid := w.pid("test/argo")
		kill(t, pid, 19)
		w.eventually("another process", func() bool { now := w.pid("test/argo"); return now != 0 && now != pid })
		w.waitEvent(EventFailed, "ping failed (DeadlineExceeded)")
	})
	t.Run("it does not initialise", func(t *testing.T) {
		w := newArgoWorld(t, nil, "error:InitPlugin")
		p := w.problemOf("test/argo", "InitPlugin failed (FailedPrecondition): no InitPlugin today")
		assert.Equal(t, rollout.ProblemUnavailable, p.Class)
	})
	t.Run("it does not verify yet", func(t *testing.T) {
		w := newArgoWorld(t, nil, "unverified")
		answer, problem := w.router("test/argo").Route(context.Background(), rollout.RouteRequest{Rollout: argoRollout(), Desired: argoTraffic(10)})
		require.Nil(t, problem)
		assert.Equal(t, rollout.ConvergencePending, answer.Convergence)
	})
}

func TestArgoProvider(t *testing.T) {
	w := newArgoWorld(t, nil, "")
	p, problem := w.Provider("test/argo")
	require.Nil(t, problem)
	req := analysis.Request{
		Run: &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Name: "check"}}, MeasurementID: "m1",
		Metric: v1alpha1.Metric{Name: "rate", Provider: v1alpha1.MetricProvider{Plugin: map[string]json.RawMessage{"test/argo": json.RawMessage(`{"q":1}`)}}},
	}
	answer, err := p.Measure(context.Background(), req)
	require.NoError(t, err)
	require.NotNil(t, answer.Pending)
	assert.InDelta(t, 7, answer.Pending.ResumeAfter.Seconds(), 3)
	assert.Equal(t, map[string]string{"job": "42"}, answer.Metadata)
	assert.Equal(t, map[string]string{"query": "up"}, answer.ResultMetadata)
	assert.Equal(t, []string{"InitPlugin", "GetMetadata rate", `Run check rate {"q":1}`}, w.called())

	req.State = answer.Pending.State
	answer, err = p.Measure(context.Background(), req)
	require.NoError(t, err)
	assert.Equal(t, &analysis.Verdict{Phase: v1alpha1.AnalysisPhaseFailed, Value: "[0.7]"}, answer.Verdict)
	assert.Equal(t, "too low", answer.Message)
	require.NoError(t, p.Cancel(context.Background(), req))
	require.NoError(t, p.Collect(context.Background(), req, []string{"a", "b"}))
	assert.Equal(t, []string{"Resume job 42", "Terminate job 42", "GarbageCollect 2"}, w.called())

	req.State, req.Run.Status.MetricResults = nil, []v1alpha1.MetricResult{{Name: "rate", Count: 1}}
	_, err = p.Measure(context.Background(), req)
	require.NoError(t, err)
	assert.Equal(t, []string{`Run check rate {"q":1}`}, w.called(), "metadata is asked for once")
}

func TestArgoStep(t *testing.T) {
	w := newArgoWorld(t, nil, "")
	s, problem := w.Step("test/argo")
	require.Nil(t, problem)
	call := func(verb rollout.StepVerb, state string) (rollout.StepAnswer, *rollout.Problem) {
		req := rollout.StepCall{Plugin: "test/argo", Verb: verb, Config: json.RawMessage(`{"a":1}`)}
		if state != "" {
			req.State = json.RawMessage(state)
		}
		reply, problem := s.Call(context.Background(), argoRollout(), req, nil)
		return reply.Answer, problem
	}
	answer, problem := call(rollout.StepRun, "")
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepAnswer{Phase: rollout.StepRunning, RequeueAfter: 17 * time.Second, State: json.RawMessage(`{"n":1}`)}, answer)
	answer, problem = call(rollout.StepRun, `{"n":1}`)
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepSuccessful, answer.Phase)
	answer, problem = call(rollout.StepTerminate, `{"n":1}`)
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepSuccessful, answer.Phase)
	_, problem = call(rollout.StepAbort, `{"n":1}`)
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, `phase is "nonsense"`)
	assert.Equal(t, []string{"InitPlugin", `Run web test/argo config={"a":1} status=`, `Run web test/argo config={"a":1} status={"n":1}`, `Terminate {"n":1}`, `Abort {"n":1}`}, w.called())

	w = newArgoWorld(t, nil, "error:Run")
	s, problem = w.Step("test/argo")
	require.Nil(t, problem)
	answer, problem = call(rollout.StepRun, "")
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepAnswer{Phase: rollout.StepError, Message: "no Run today"}, answer, "it was asked and failed")
}

// With --require-plugin-digest nothing runs that is not pinned.
func TestArgoPluginsCanBeRequiredToBePinned(t *testing.T) {
	entry := "- {name: test/argo, location: 'file:///plugins/argo'}"
	c := buildCatalog(map[string]string{"stepPlugins": entry}, nil, nil, policy{requireDigest: true})
	_, problem := c.lookup(KindStep, "test/argo")
	require.NotNil(t, problem)
	assert.Contains(t, problem.Message, "sha256: missing")
	c = buildCatalog(map[string]string{"stepPlugins": entry, "trafficRouterPlugins": entry}, nil, nil, policy{})
	step, problem := c.lookup(KindStep, "test/argo")
	require.Nil(t, problem)
	router, problem := c.lookup(KindTrafficRouter, "test/argo")
	require.Nil(t, problem)
	assert.NotEqual(t, step.id, router.id, "one process serves one kind")
	assert.True(t, step.inherit, "such plugins bring their own Kubernetes client")
}
