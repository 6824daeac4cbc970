package controller

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// stepCheck is what a plugin says of the configuration of one step.
type stepCheck struct {
	question
	flight *flight
	// remark is the warning of the last answer; "" is none.
	remark string
}

// configAnswer is one answer about a configuration.
type configAnswer struct {
	needs  []rollout.Need
	remark string
}

func checkSubscriber(key types.NamespacedName) string {
	return Subscriber(v1alpha1.KindRollout, key, "step-config")
}

// CheckSteps asks the plugins of all steps whether their configuration is right,
// and returns what they say. What a plugin said of the same configuration and
// objects is not asked again. Plugins that are not installed, or switched off,
// are left out.
func (s *Steps) CheckSteps(ctx context.Context, ro *v1alpha1.Rollout) rollout.StepChecks {
	out := rollout.StepChecks{Problems: map[int32]rollout.Problem{}, Remarks: map[int32]string{}}
	if ro.Spec.Strategy.Canary == nil {
		return out
	}
	d := s.desk(ro)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, step := range ro.Spec.Strategy.Canary.Steps {
		index := int32(i) //nolint:gosec // a Rollout has far fewer steps
		if step.Plugin == nil || s.Disabled(step.Plugin.Name) {
			delete(d.checks, index)
			continue
		}
		plugin, problem := s.Plugin(step.Plugin.Name)
		if problem != nil {
			continue
		}
		if d.checks[index] == nil {
			d.checks[index] = &stepCheck{}
		}
		c := d.checks[index]
		if problem := s.check(ctx, ro, d, c, plugin, *step.Plugin); problem != nil {
			out.Problems[index] = *problem
		} else if c.remark != "" {
			out.Remarks[index] = c.remark
		}
	}
	return out
}

func (s *Steps) check(ctx context.Context, ro *v1alpha1.Rollout, d *stepDesk, c *stepCheck, plugin StepPlugin, step v1alpha1.PluginStep) *rollout.Problem {
	config, target := []byte(step.Config), rollout.Block{}.Target(ro)
	if len(config) == 0 {
		config = []byte("{}")
	}
	lane := s.Lanes.of(step.Name)
	ctx, cancel := context.WithTimeout(ctx, lane.patience)
	defer cancel()
	key := types.NamespacedName{Namespace: ro.Namespace, Name: ro.Name}
	for range maxRounds {
		// The broker watches what the last call listed: that of all steps.
		needs := c.needs
		for _, other := range d.checks {
			needs = unite(needs, other.needs)
		}
		inputs := s.Objects.Resolve(callerOf(ro), checkSubscriber(key), plugin.Grant(), needs)[:len(c.needs)]
		if problem := unready(inputs); problem != nil {
			return problem
		}
		fingerprint := func() string {
			return digest([]any{step.Name, plugin.Generation(), string(config), target.Labels, versions(inputs)})
		}
		question := fingerprint()
		if c.answered(question, time.Now()) {
			return c.problem
		}
		got, late := ask(ctx, lane, &c.flight, question, func() { s.Ring(key) }, func(ctx context.Context) said[configAnswer] {
			needs, remark, problem := plugin.Validate(ctx, target, config, inputs)
			return said[configAnswer]{configAnswer{needs, remark}, problem}
		})
		switch {
		case late:
			return asked(step.Name)
		case got.problem != nil:
			if class := got.problem.Class; class == rollout.ProblemInvalid || class == rollout.ProblemRefused {
				got.problem.Retry = max(got.problem.Retry, refusalFor)
				c.remember(fingerprint(), got.problem, time.Now(), got.problem.Retry)
			}
			return got.problem
		case covered(got.answer.needs, inputs):
			c.remark = got.answer.remark
			// The call may have started the process: another generation by now.
			c.remember(fingerprint(), nil, time.Now(), 0)
			return nil
		}
		c.needs = got.answer.needs
	}
	return restless(step.Name)
}

// StepObjectsChanged reports that an object which a running operation looks at is
// not what it was when the plugin answered last, or that nobody knows what it
// looks at: the controller has started since. It forgets operations that status
// does not have any more.
func (s *Steps) StepObjectsChanged(ro *v1alpha1.Rollout) bool {
	d := s.desk(ro)
	d.mu.Lock()
	defer d.mu.Unlock()
	listed, changed := map[talkAbout]bool{}, false
	for _, e := range ro.Status.Canary.StepPluginStatuses {
		about := talkAbout{e.Index, rollout.StepVerb(e.Operation)}
		listed[about] = true
		plugin, problem := s.Plugin(e.Name)
		if changed || problem != nil || !awaitedStep(ro, e) {
			continue
		}
		t := d.talks[about]
		if t == nil || t.seen == "" {
			changed = true
			continue
		}
		inputs := s.Objects.Resolve(callerOf(ro), t.subscriber, plugin.Grant(), t.needs)
		changed = unready(inputs) == nil && versions(inputs) != t.seen
	}
	for about := range d.talks {
		if !listed[about] {
			s.hangUp(d, about)
		}
	}
	return changed
}

// awaitedStep: the plugin has said that the operation goes on, and no other one
// ends it meanwhile.
func awaitedStep(ro *v1alpha1.Rollout, e v1alpha1.StepPluginStatus) bool {
	if e.Disabled || e.Phase != v1alpha1.StepPluginPhaseRunning || e.UpdatedAt == nil {
		return false
	}
	if ro.Status.Abort {
		return e.Operation == v1alpha1.StepPluginOperationAbort
	}
	return e.Operation != v1alpha1.StepPluginOperationRun || !slices.ContainsFunc(ro.Status.Canary.StepPluginStatuses, func(other v1alpha1.StepPluginStatus) bool {
		return other.Index == e.Index && other.Operation != e.Operation
	})
}

// versions identifies the objects that inputs show.
func versions(inputs []rollout.NeedResult) string {
	var basis []any
	for _, in := range inputs {
		basis = append(basis, needKey(in.Need), in.APIVersion)
		for _, object := range in.Objects {
			basis = append(basis, object.ResourceVersion)
		}
	}
	return digest(basis)
}
