package plugins

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

// Router asks one traffic router plugin. It stays valid across restarts and
// updates of the process; after the plugin left the catalog, calls fail. Every
// call has a deadline of its own (Validate and Observe 5 s, Route 10 s, or the
// entry's timeout), is safe to repeat, and waits at most 250 ms for a plugin
// that is starting.
type Router struct{ s *supervisor }

// Generation differs for each process and configuration of the plugin: part of
// the fingerprint of everything it said. "" while none can be asked.
func (r *Router) Generation() string { return r.s.currentGeneration() }

// Capabilities of the running process; no call is made for it.
func (r *Router) Capabilities(ctx context.Context) (rollout.Capabilities, *rollout.Problem) {
	inst, problem := r.s.acquire(ctx)
	if problem != nil {
		return rollout.Capabilities{}, problem
	}
	defer inst.leave()
	if !inst.offers[KindTrafficRouter] {
		return rollout.Capabilities{}, refused("plugin %q is no %s", r.s.id, KindTrafficRouter)
	}
	return inst.router, nil
}

// Grant is what the plugin may read and write: what it asks for and its entry
// grants, without what is never grantable. Empty before the plugin ran for the
// first time.
func (r *Router) Grant() rollout.Grant { return r.s.grant() }

// Wants is the label selector of a kind of high volume; nil means that the
// plugin needs to see every object of the kind, or none.
func (r *Router) Wants(group, kind string) *metav1.LabelSelector {
	return r.s.facts().selector(schema.GroupKind{Group: group, Kind: kind})
}

// Validate checks the configuration against everything the steps will ask for.
// The answer is final when every need it returns was among the inputs. What is
// said is a warning that stops nothing; "" is none.
func (r *Router) Validate(ctx context.Context, req rollout.ValidateRequest) (needs []rollout.Need, said string, problem *rollout.Problem) {
	problem = r.s.call(ctx, KindTrafficRouter, "TrafficRouter/Validate", r.s.timing.validate,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				return nil // The protocol has no such question.
			}
			answer, err := i.routers.Validate(ctx, &trafficrouterv1.ValidateRequest{
				Target: targetTo(req.Target), Config: configTo(req.Config),
				Envelope: envelopeTo(req.Envelope), Inputs: inputsTo(req.Inputs),
			})
			if err != nil {
				return err
			}
			said = remark(answer.GetMessage())
			needs, err = needsFrom(answer.GetNeeds())
			return err
		})
	return needs, said, problem
}

// Observe says what traffic the inputs route. Weights are scaled to the
// request's total; the fingerprint is left to the caller.
func (r *Router) Observe(ctx context.Context, req rollout.ObserveRequest) (out rollout.ObserveAnswer, problem *rollout.Problem) {
	problem = r.s.call(ctx, KindTrafficRouter, "TrafficRouter/Observe", r.s.timing.observe,
		func(ctx context.Context, i *instance) error {
			answer, err := i.routers.Observe(ctx, &trafficrouterv1.ObserveRequest{
				Target: targetTo(req.Target), Config: configTo(req.Config),
				ManagedNames: req.ManagedNames, TotalWeight: req.TotalWeight, Inputs: inputsTo(req.Inputs),
				Releasing: req.Releasing, Kept: claimsTo(req.Kept),
			})
			if err != nil {
				return err
			}
			if out.Needs, err = needsFrom(answer.GetNeeds()); err != nil {
				return err
			}
			out.Observation, err = observationFrom(answer, req)
			return err
		})
	if problem != nil {
		return rollout.ObserveAnswer{}, problem
	}
	return out, nil
}

// Route asks for the writes of the next stage towards the intent.
func (r *Router) Route(ctx context.Context, req rollout.RouteRequest) (out rollout.RouteAnswer, problem *rollout.Problem) {
	problem = r.s.call(ctx, KindTrafficRouter, "TrafficRouter/Route", r.s.timing.route,
		func(ctx context.Context, i *instance) (err error) {
			if i.argo != nil {
				out, err = i.argo.route(ctx, req)
				return err
			}
			wire := &trafficrouterv1.RouteRequest{
				Target: targetTo(req.Target), Config: configTo(req.Config),
				Inputs: inputsTo(req.Inputs), OperationId: req.OperationID,
			}
			if req.Release != nil {
				wire.Intent = &trafficrouterv1.RouteRequest_Release{Release: releaseTo(*req.Release)}
			} else if req.Desired != nil {
				wire.Intent = &trafficrouterv1.RouteRequest_Desired{Desired: trafficTo(*req.Desired)}
			}
			answer, err := i.routers.Route(ctx, wire)
			if err != nil {
				return err
			}
			out.Message = remark(answer.GetMessage())
			if out.Needs, err = needsFrom(answer.GetNeeds()); err != nil {
				return err
			}
			if out.Writes, err = writesFrom(answer.GetWrites()); err != nil {
				return err
			}
			if !i.router.Observe {
				out.Convergence = routeConvergence(answer)
			}
			return nil
		})
	if problem != nil {
		return rollout.RouteAnswer{}, problem
	}
	return out, nil
}

func (s *supervisor) grant() rollout.Grant {
	if f := s.facts(); f != nil {
		return f.grant
	}
	return rollout.Grant{}
}
