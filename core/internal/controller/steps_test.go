package controller

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stepper is a step plugin that writes the route its config names, and is done
// when the route weighs 1.
type stepper struct {
	calls     []rollout.StepCall
	validated int
	gate      chan struct{}
}

func (*stepper) Generation() string   { return "1" }
func (*stepper) Grant() rollout.Grant { return rollout.Grant{} }

func (s *stepper) Validate(_ context.Context, _ rollout.Target, config []byte, _ []rollout.NeedResult) ([]rollout.Need, string, *rollout.Problem) {
	s.validated++
	switch string(config) {
	case `{"wrong":true}`:
		return nil, "", &rollout.Problem{Class: rollout.ProblemInvalid, Path: "wrong", Message: "unknown field"}
	case `{"old":true}`:
		return nil, "old is called new", nil
	}
	return nil, "", nil
}

func (s *stepper) Call(_ context.Context, _ *v1alpha1.Rollout, req rollout.StepCall, inputs []rollout.NeedResult) (plugins.StepReply, *rollout.Problem) {
	if s.gate != nil {
		<-s.gate
	}
	s.calls = append(s.calls, req)
	reply := plugins.StepReply{Needs: []rollout.Need{need("web")}, Answer: rollout.StepAnswer{Phase: rollout.StepRunning, State: json.RawMessage(`{"asked":1}`)}}
	if len(inputs) == 0 {
		return plugins.StepReply{Needs: reply.Needs}, nil
	}
	var r route
	_ = json.Unmarshal(inputs[0].Objects[0].JSON, &r)
	if r.Weight == 1 {
		reply.Answer.Phase = rollout.StepSuccessful
		return reply, nil
	}
	r.Weight = 1
	raw, _ := json.Marshal(r)
	reply.Writes = []rollout.Write{{Verb: rollout.WriteUpdate, JSON: raw}}
	return reply, nil
}

// conflicting is a broker whose first write conflicts.
type conflicting struct {
	*world
	conflicts int
}

func (c *conflicting) Apply(ctx context.Context, caller rollout.Caller, g rollout.Grant, shown []rollout.NeedResult, writes []rollout.Write) error {
	if c.conflicts > 0 && len(writes) > 0 {
		c.conflicts--
		return apierrors.NewConflict(v1alpha1.Resource("rollouts"), "web", nil)
	}
	return c.world.Apply(ctx, caller, g, shown, writes)
}

type stepDesks struct {
	*Steps
	plugin *stepper
	world  *conflicting
	rang   chan types.NamespacedName
}

func newStepDesks() *stepDesks {
	d := &stepDesks{plugin: &stepper{}, world: &conflicting{world: newWorld("web")}, rang: make(chan types.NamespacedName, 10)}
	d.Steps = NewSteps(StepsOptions{
		Plugin: func(name string) (StepPlugin, *rollout.Problem) {
			if name != "test/step" {
				return nil, &rollout.Problem{Class: rollout.ProblemUnavailable, Message: name + " is not installed"}
			}
			return d.plugin, nil
		},
		Disabled: func(name string) bool { return name == "test/off" },
		Objects:  d.world, Lanes: &Lanes{Patience: time.Minute},
		Ring: func(key types.NamespacedName) { d.rang <- key },
	})
	return d
}

func running() rollout.StepCall {
	return rollout.StepCall{Plugin: "test/step", Index: 1, Verb: rollout.StepRun, OperationID: "uid/abc/1/0", Config: json.RawMessage(`{}`)}
}

func TestAStepSeesAndWritesObjects(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	answer, problem := d.Call(context.Background(), ro, running())
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepRunning, answer.Phase)
	assert.JSONEq(t, `{"asked":1}`, string(answer.State))
	assert.EqualValues(t, 1, d.world.routes["web"].Weight)
	assert.Len(t, d.plugin.calls, 2, "once to learn what it needs")
	assert.Equal(t, d.plugin.calls[0].OperationID, d.plugin.calls[1].OperationID)
	assert.Len(t, d.world.needed, 1, "and it is watched while it runs")

	answer, problem = d.Call(context.Background(), ro, running())
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepSuccessful, answer.Phase)
	assert.Empty(t, d.world.needed, "nothing is watched for a step that is over")
}

func TestAStepWhoseWriteConflictsIsAskedAgain(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	d.world.conflicts = 1
	_, problem := d.Call(context.Background(), ro, running())
	require.NotNil(t, problem)
	assert.True(t, rollout.IsWaiting(problem))
	assert.Equal(t, behind, problem.Retry)
	answer, problem := d.Call(context.Background(), ro, running())
	require.Nil(t, problem)
	assert.Equal(t, rollout.StepRunning, answer.Phase)
	assert.EqualValues(t, 1, d.world.routes["web"].Weight)
}

func TestADisabledStepIsOverAndAMissingOneIsNot(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	call := running()
	call.Plugin = "test/off"
	answer, problem := d.Call(context.Background(), ro, call)
	require.Nil(t, problem)
	assert.True(t, answer.Disabled)
	assert.Empty(t, d.plugin.calls)
	call.Plugin = "test/none"
	_, problem = d.Call(context.Background(), ro, call)
	require.NotNil(t, problem)
	assert.Equal(t, rollout.ProblemUnavailable, problem.Class)
}

func TestALateStepIsNotRunTwice(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	d.Lanes.Patience = time.Millisecond
	d.plugin.gate = make(chan struct{})
	for range 3 {
		_, problem := d.Call(context.Background(), ro, running())
		assert.True(t, rollout.IsWaiting(problem))
	}
	close(d.plugin.gate)
	assert.Equal(t, key(ro), <-d.rang)
	for {
		answer, problem := d.Call(context.Background(), ro, running())
		if problem == nil {
			assert.Equal(t, rollout.StepRunning, answer.Phase)
			break
		}
		require.True(t, rollout.IsWaiting(problem))
	}
	assert.Len(t, d.plugin.calls, 2)
	d.Forget(key(ro))
	assert.Empty(t, d.world.needed)
}

func TestTheConfigurationOfStepsIsCheckedOnce(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	step := func(name, config string) v1alpha1.CanaryStep {
		return v1alpha1.CanaryStep{Plugin: &v1alpha1.PluginStep{Name: name, Config: json.RawMessage(config)}}
	}
	ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{step("test/step", ""), step("test/off", `{"wrong":true}`), step("test/none", ""), step("test/step", `{"wrong":true}`)}
	for range 3 {
		checks := d.CheckSteps(context.Background(), ro)
		require.Len(t, checks.Problems, 1)
		refused := checks.Problems[3]
		assert.Empty(t, checks.Remarks)
		assert.Equal(t, "wrong: unknown field", refused.Error())
		assert.Equal(t, 2, d.plugin.validated, "nothing has changed since")
	}
	ro.Spec.Strategy.Canary.Steps[3].Plugin.Config = json.RawMessage(`{"old":true}`)
	for range 2 {
		checks := d.CheckSteps(context.Background(), ro)
		assert.Empty(t, checks.Problems)
		assert.Equal(t, map[int32]string{3: "old is called new"}, checks.Remarks)
	}
}

func TestARunningStepHasSomethingNewToSee(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	assert.False(t, d.StepObjectsChanged(ro))
	at := metav1.Now()
	ro.Status.Canary.StepPluginStatuses = []v1alpha1.StepPluginStatus{{Index: 1, Name: "test/step", Operation: "Run", Phase: v1alpha1.StepPluginPhaseRunning, UpdatedAt: &at}}
	assert.True(t, d.StepObjectsChanged(ro), "what it looks at was known to the controller before this one")
	_, problem := d.Call(context.Background(), ro, running())
	require.Nil(t, problem)
	assert.True(t, d.StepObjectsChanged(ro), "it is shown what became of its own write")
	_, problem = d.Call(context.Background(), ro, running())
	require.Nil(t, problem)
	ro.Status.Canary.StepPluginStatuses[0].Phase = v1alpha1.StepPluginPhaseSuccessful
	assert.False(t, d.StepObjectsChanged(ro), "it is done")
}

func TestStepsThatAreTakenBackAtTheSameTimeKeepTheirObjects(t *testing.T) {
	d, ro := newStepDesks(), shop(`{}`)
	at := metav1.Now()
	first, second := running(), running()
	first.Verb, second.Verb, second.Index, second.OperationID = rollout.StepAbort, rollout.StepAbort, 2, "uid/abc/2/0"
	ro.Status.Abort = true
	for _, call := range []rollout.StepCall{first, second} {
		_, problem := d.Call(context.Background(), ro, call)
		require.Nil(t, problem)
		ro.Status.Canary.StepPluginStatuses = append(ro.Status.Canary.StepPluginStatuses,
			v1alpha1.StepPluginStatus{Index: call.Index, Name: "test/step", Operation: "Run", Phase: v1alpha1.StepPluginPhaseRunning, UpdatedAt: &at},
			v1alpha1.StepPluginStatus{Index: call.Index, Name: "test/step", Operation: "Abort", Phase: v1alpha1.StepPluginPhaseRunning, UpdatedAt: &at})
		d.world.routes["web"].Weight = 0
	}
	assert.Len(t, d.world.needed, 2, "each watches its own")
	assert.Len(t, d.plugin.calls, 4, "and has learned once what it needs")

	ro.Status.Canary.StepPluginStatuses = nil // another attempt
	assert.False(t, d.StepObjectsChanged(ro))
	assert.Empty(t, d.world.needed)
}
