package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

const (
	// maxRounds is how often one question is asked in a row because the answer
	// needs more objects: the config, what it names, what that names, and one
	// to spare.
	maxRounds = 4
	// refusalFor is how long a refusal is remembered while nothing changes.
	refusalFor = 20 * time.Second
	// waitFor is when to look again at objects that are not listed yet,
	// should the broker's notification be missed.
	waitFor = 5 * time.Second
)

// asking is one conversation with a plugin about one router of one Rollout.
// The memo is locked.
type asking struct {
	*memo
	objects Objects
	plugin  RouterPlugin
	ro      *v1alpha1.Rollout
	block   rollout.Block
	now     time.Time
	lane    *lane
	ring    func()
}

func (a *asking) caller() rollout.Caller { return callerOf(a.ro) }

func callerOf(ro *v1alpha1.Rollout) rollout.Caller {
	return rollout.Caller{
		APIVersion: v1alpha1.GroupVersion.String(),
		Kind:       v1alpha1.KindRollout,
		Namespace:  ro.Namespace,
		Name:       ro.Name,
		UID:        string(ro.UID),
	}
}

// validate asks whether the config and all steps are right. A stored config of
// a releasing router is what it is.
func (a *asking) validate(ctx context.Context) *rollout.Problem {
	if a.block.Releasing {
		return nil
	}
	return a.settle(&a.validated, func(inputs []rollout.NeedResult, fingerprint string) ([]rollout.Need, time.Duration, *rollout.Problem) {
		req := rollout.ValidateRequest{
			Target:   a.block.Target(a.ro),
			Config:   a.block.Config,
			Envelope: rollout.EnvelopeOf(a.ro),
			Inputs:   inputs,
		}
		answer, problem := called(ctx, a, "validate/"+fingerprint, func(ctx context.Context) (configAnswer, *rollout.Problem) {
			needs, remark, problem := a.plugin.Validate(ctx, req)
			return configAnswer{needs, remark}, problem
		})
		if problem == nil {
			a.remark = answer.remark
		}
		return answer.needs, 0, problem
	})
}

// observe asks what traffic the objects route. A router that cannot observe is
// not asked; its observation is only the fingerprint of what it would be asked
// with.
func (a *asking) observe(ctx context.Context, able bool) *rollout.Problem {
	return a.settle(&a.observed, func(inputs []rollout.NeedResult, fingerprint string) ([]rollout.Need, time.Duration, *rollout.Problem) {
		var answer rollout.ObserveAnswer
		if able {
			req := rollout.ObserveRequest{
				Target:       a.block.Target(a.ro),
				Config:       a.block.Config,
				ManagedNames: a.block.ManagedNames,
				Inputs:       inputs,
				TotalWeight:  rollout.EnvelopeOf(a.ro).TotalWeight,
				Releasing:    a.block.Releasing,
				Kept:         a.block.Kept,
			}
			var problem *rollout.Problem
			answer, problem = called(ctx, a, "observe/"+fingerprint, func(ctx context.Context) (rollout.ObserveAnswer, *rollout.Problem) {
				return a.plugin.Observe(ctx, req)
			})
			if problem != nil {
				return nil, 0, problem
			}
		}
		a.observation = answer.Observation
		a.observation.Fingerprint = fingerprint
		return answer.Needs, answer.Observation.Recheck, nil
	})
}

// route asks for the writes of one stage. The answer to an earlier pass counts
// if it was asked for the same state of the same objects.
func (a *asking) route(ctx context.Context, req rollout.RouteRequest, fingerprint string) (rollout.RouteAnswer, *rollout.Problem) {
	key := "route/" + digest([]any{fingerprint, req.OperationID, req.Desired, req.Release, req.Verify})
	return called(ctx, a, key, func(ctx context.Context) (rollout.RouteAnswer, *rollout.Problem) {
		return a.plugin.Route(ctx, req)
	})
}

// said is the answer of a call.
type said[T any] struct {
	answer  T
	problem *rollout.Problem
}

// called makes one call in the plugin's lane. While it is not answered, the
// problem is that.
func called[T any](ctx context.Context, a *asking, key string, call func(context.Context) (T, *rollout.Problem)) (T, *rollout.Problem) {
	got, late := ask(ctx, a.lane, &a.flight, key, a.ring, func(ctx context.Context) said[T] {
		answer, problem := call(ctx)
		return said[T]{answer, problem}
	})
	if late {
		return got.answer, asked(a.block.Plugin)
	}
	return got.answer, got.problem
}

// settle asks until the answer needs nothing it was not shown. What was
// answered to the same inputs is not asked again.
func (a *asking) settle(q *question, call func(inputs []rollout.NeedResult, fingerprint string) ([]rollout.Need, time.Duration, *rollout.Problem)) *rollout.Problem {
	for range maxRounds {
		inputs := a.resolve(q)
		if problem := unready(inputs); problem != nil {
			return problem
		}
		fingerprint := a.fingerprint(q, inputs)
		if q.answered(fingerprint, a.now) {
			return q.problem
		}
		needs, recheck, problem := call(inputs, fingerprint)
		if problem != nil {
			if problem.Class == rollout.ProblemInvalid || problem.Class == rollout.ProblemRefused {
				problem.Retry = max(problem.Retry, refusalFor)
				q.remember(fingerprint, problem, a.now, problem.Retry)
			}
			return problem
		}
		if sameNeeds(needs, q.needs) {
			q.remember(fingerprint, nil, a.now, recheck)
			return nil
		}
		q.needs = needs
	}
	return restless(a.block.Plugin)
}

// restless is the problem with a plugin that never has enough.
func restless(plugin string) *rollout.Problem {
	return &rollout.Problem{
		Class:  rollout.ProblemRefused,
		Reason: string(rollout.HoldPluginRefused),
		Message: fmt.Sprintf("plugin %s asked for other objects in each of %d answers to the same question; it has to list all its needs in each answer",
			plugin, maxRounds),
		Retry: refusalFor,
	}
}

// resolve answers the needs of a question. The broker is told those of all
// questions, because it watches what the last call listed.
func (a *asking) resolve(q *question) []rollout.NeedResult {
	own := unite(q.needs, nil)
	if q == &a.observed {
		own = unite(own, a.routeNeeds)
	}
	all := unite(unite(own, a.validated.needs), unite(a.observed.needs, a.routeNeeds))
	all = unite(all, a.heldNeeds)
	results := a.objects.Resolve(a.caller(), a.subscriber, a.plugin.Grant(), all)
	inputs := results[:len(own):len(own)]
	if q != &a.observed || len(a.block.Holds) == 0 {
		return inputs
	}
	if missing := a.unseen(inputs); !sameNeeds(missing, a.heldNeeds) && unready(inputs) == nil {
		a.heldNeeds = missing
		results = a.objects.Resolve(a.caller(), a.subscriber, a.plugin.Grant(), unite(all, missing))
		inputs = results[:len(own):len(own)]
	}
	return a.markHeld(inputs, results)
}

// unready says why inputs cannot be shown to a plugin; nil when they can. What
// nobody but a person can change comes before what only takes time.
func unready(inputs []rollout.NeedResult) *rollout.Problem {
	var waiting *rollout.Problem
	for _, in := range inputs {
		switch in.State {
		case rollout.NeedSynced:
		case rollout.NeedForbidden, rollout.NeedNotServed, rollout.NeedDenied:
			return &rollout.Problem{Class: rollout.ProblemRefused, Reason: string(rollout.HoldPluginRefused), Message: in.Message}
		default:
			if waiting == nil {
				waiting = &rollout.Problem{Class: rollout.ProblemWaiting, Reason: string(rollout.HoldWaitingForPlugin), Message: in.Message, Retry: waitFor}
			}
		}
	}
	return waiting
}

// covered reports whether every need was among the inputs.
func covered(needs []rollout.Need, inputs []rollout.NeedResult) bool {
	shown := map[string]bool{}
	for _, in := range inputs {
		shown[needKey(in.Need)] = true
	}
	for _, need := range needs {
		if !shown[needKey(need)] {
			return false
		}
	}
	return true
}

// unseen lists the objects of holds that the inputs do not show. Their kind is
// read in the versions the plugin itself asks for, where it does.
func (a *asking) unseen(inputs []rollout.NeedResult) []rollout.Need {
	shown := shownNames(inputs)
	var needs []rollout.Need
	for _, hold := range a.block.Holds {
		gk, namespace, name, ok := rollout.ParseObjectName(hold.Object)
		if !ok || shown[hold.Object] {
			continue
		}
		need := rollout.Need{Group: gk.Group, Kind: gk.Kind, Namespace: namespace, Name: name}
		for _, in := range inputs {
			if (schema.GroupKind{Group: in.Need.Group, Kind: in.Need.Kind}) == gk {
				need.Versions = in.Need.Versions
			}
		}
		needs = unite(needs, []rollout.Need{need})
	}
	return needs
}
