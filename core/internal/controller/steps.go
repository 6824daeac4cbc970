package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// StepPlugin is a step as the plugin host offers it.
type StepPlugin interface {
	// Generation differs for each process and configuration of the plugin.
	Generation() string
	Grant() rollout.Grant
	// Validate is pure; its answer counts as Call's does.
	Validate(ctx context.Context, target rollout.Target, config []byte, inputs []rollout.NeedResult) (needs []rollout.Need, remark string, problem *rollout.Problem)
	// Call has a deadline of its own. The answer counts when every need was
	// among the inputs.
	Call(ctx context.Context, ro *v1alpha1.Rollout, req rollout.StepCall, inputs []rollout.NeedResult) (plugins.StepReply, *rollout.Problem)
}

// StepsOptions of NewSteps; all are required.
type StepsOptions struct {
	// Plugin finds a step by its catalog name, or says why there is none.
	Plugin func(name string) (StepPlugin, *rollout.Problem)
	// Disabled reports that the catalog switches the name off.
	Disabled func(name string) bool
	Objects  Objects
	Lanes    *Lanes
	// Ring asks for a pass over a Rollout whose step answered late.
	Ring func(types.NamespacedName)
}

// Steps asks step plugins on behalf of Rollouts: it feeds them the objects they
// need, keeps late answers for the next pass, and hands their writes to the
// broker. It implements act.Steps.
type Steps struct {
	StepsOptions

	mu    sync.Mutex
	desks map[types.NamespacedName]*stepDesk
}

// stepDesk is where the calls of one Rollout are made, one after the other.
type stepDesk struct {
	mu     sync.Mutex
	uid    types.UID
	key    types.NamespacedName
	flight *flight
	talks  map[talkAbout]*stepTalk
	checks map[int32]*stepCheck
}

// talkAbout tells the operations of a Rollout apart that may go on at the same
// time.
type talkAbout struct {
	index int32
	verb  rollout.StepVerb
}

// stepTalk is what is known of one operation since the controller started.
type stepTalk struct {
	subscriber string
	// operation is the verb and the id.
	operation string
	needs     []rollout.Need
	// seen identifies the objects its last answer was about; "" before it.
	seen string
}

// NewSteps returns Steps that remember nothing yet.
func NewSteps(o StepsOptions) *Steps {
	return &Steps{StepsOptions: o, desks: map[types.NamespacedName]*stepDesk{}}
}

// Call asks the step plugin one thing. A problem of class Waiting means that it
// has been asked, or that its objects are being read: the same call is to be
// made in the pass that follows. An answer is returned only once, so one that is
// lost (a status that could not be written) is asked for again under the same
// operation id.
func (s *Steps) Call(ctx context.Context, ro *v1alpha1.Rollout, call rollout.StepCall) (rollout.StepAnswer, *rollout.Problem) {
	if s.Disabled(call.Plugin) {
		return rollout.StepAnswer{Disabled: true}, nil
	}
	plugin, problem := s.Plugin(call.Plugin)
	if problem != nil {
		return rollout.StepAnswer{}, problem
	}
	d := s.desk(ro)
	d.mu.Lock()
	defer d.mu.Unlock()
	t := s.talk(d, call)
	lane := s.Lanes.of(call.Plugin)
	ctx, cancel := context.WithTimeout(ctx, lane.patience)
	defer cancel()
	for range maxRounds {
		inputs := s.Objects.Resolve(callerOf(ro), t.subscriber, plugin.Grant(), t.needs)
		if problem := unready(inputs); problem != nil {
			return rollout.StepAnswer{}, problem
		}
		reply, problem := s.call(ctx, lane, d, t, plugin, ro, call, inputs)
		if problem != nil {
			return rollout.StepAnswer{}, problem
		}
		if covered(reply.Needs, inputs) {
			return s.finish(context.WithoutCancel(ctx), ro, t, plugin, inputs, reply)
		}
		t.needs = reply.Needs
	}
	return rollout.StepAnswer{}, restless(call.Plugin)
}

// talk finds or begins the talk about the operation.
func (s *Steps) talk(d *stepDesk, call rollout.StepCall) *stepTalk {
	about, operation := talkAbout{call.Index, call.Verb}, string(call.Verb)+"/"+call.OperationID
	if t := d.talks[about]; t == nil || t.operation != operation {
		s.hangUp(d, about)
		d.talks[about] = &stepTalk{operation: operation, subscriber: Subscriber(v1alpha1.KindRollout, d.key, fmt.Sprintf("step-%d-%s", call.Index, call.Verb))}
	}
	return d.talks[about]
}

// hangUp ends a talk; what it needed is watched no longer.
func (s *Steps) hangUp(d *stepDesk, about talkAbout) {
	if t := d.talks[about]; t != nil {
		s.Objects.Forget(t.subscriber)
		delete(d.talks, about)
	}
}

// call makes one call in the plugin's lane.
func (s *Steps) call(ctx context.Context, lane *lane, d *stepDesk, t *stepTalk, plugin StepPlugin, ro *v1alpha1.Rollout, call rollout.StepCall, inputs []rollout.NeedResult) (plugins.StepReply, *rollout.Problem) {
	basis := []any{t.operation, plugin.Generation(), string(call.Config), string(call.State), versions(inputs)}
	got, late := ask(ctx, lane, &d.flight, digest(basis), func() { s.Ring(d.key) }, func(ctx context.Context) said[plugins.StepReply] {
		reply, problem := plugin.Call(ctx, ro, call, inputs)
		return said[plugins.StepReply]{reply, problem}
	})
	if late {
		return plugins.StepReply{}, asked(call.Plugin)
	}
	return got.answer, got.problem
}

// finish makes the writes of an answer. When they cannot be made the answer does
// not count: the plugin learns what is there by being asked again.
func (s *Steps) finish(ctx context.Context, ro *v1alpha1.Rollout, t *stepTalk, plugin StepPlugin, inputs []rollout.NeedResult, reply plugins.StepReply) (rollout.StepAnswer, *rollout.Problem) {
	err := s.Objects.Apply(ctx, callerOf(ro), plugin.Grant(), inputs, reply.Writes)
	switch problem := (*rollout.Problem)(nil); {
	case err == nil:
	case apierrors.IsConflict(err):
		return rollout.StepAnswer{}, &rollout.Problem{
			Class: rollout.ProblemWaiting, Reason: string(rollout.HoldWaitingForPlugin), Message: err.Error(), Retry: behind,
		}
	case errors.As(err, &problem):
		return rollout.StepAnswer{}, problem
	default:
		return rollout.StepAnswer{}, &rollout.Problem{
			Class: rollout.ProblemUnavailable, Reason: string(rollout.HoldPluginUnavailable), Message: err.Error(),
		}
	}
	t.needs, t.seen = reply.Needs, versions(inputs)
	if reply.Answer.Phase != rollout.StepRunning {
		// It may not be called again, or not for long.
		t.needs, t.seen = nil, ""
		s.Objects.Forget(t.subscriber)
	}
	return reply.Answer, nil
}

// desk finds or creates the desk of a Rollout. One that was deleted and created
// again starts anew.
func (s *Steps) desk(ro *v1alpha1.Rollout) *stepDesk {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	d := s.desks[key]
	if d == nil || d.uid != ro.UID {
		d = &stepDesk{uid: ro.UID, key: key, checks: map[int32]*stepCheck{}, talks: map[talkAbout]*stepTalk{}}
		s.desks[key] = d
	}
	return d
}

// Forget drops what is remembered of a Rollout that is gone.
func (s *Steps) Forget(key types.NamespacedName) {
	s.mu.Lock()
	d := s.desks[key]
	delete(s.desks, key)
	s.mu.Unlock()
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for about := range d.talks {
		s.hangUp(d, about)
	}
	s.Objects.Forget(checkSubscriber(key))
}
