package plugins

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	metricproviderv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
)

// Provider asks one metric provider plugin. It is an analysis.Provider for
// plugins that need no objects; for the others, CancelOnce and CollectOnce and
// the needs and writes of an answer are what a broker is put in front of. Like
// a Router it stays valid across restarts. Measure has 60 s, the others 10 s.
type Provider struct{ s *supervisor }

var _ analysis.Provider = (*Provider)(nil)

// Cleanup is the answer to Cancel or Collect.
type Cleanup struct {
	// Done: nothing is left. Otherwise it is asked again, after Retry or, when
	// that is 0, when an object in Needs changes.
	Done    bool
	Needs   []rollout.Need
	Writes  []rollout.Write
	Retry   time.Duration
	Message string
}

// Generation is Router.Generation.
func (p *Provider) Generation() string { return p.s.currentGeneration() }

// Grant is Router.Grant.
func (p *Provider) Grant() rollout.Grant { return p.s.grant() }

// Wants is Router.Wants.
func (p *Provider) Wants(group, kind string) *metav1.LabelSelector {
	return p.s.facts().selector(schema.GroupKind{Group: group, Kind: kind})
}

// ValidateOnce checks the configuration of a metric and measures nothing. The
// answer is final when every need it returns was among the inputs. A plugin
// without the method, and one of Argo's protocol, which has no such question,
// finds nothing wrong. What is said is a warning that stops nothing; "" is none.
func (p *Provider) ValidateOnce(ctx context.Context, req analysis.Request) (needs []rollout.Need, said string, err error) {
	problem := p.s.call(ctx, KindMetricProvider, "MetricProvider/Validate", p.s.timing.validate,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				return nil
			}
			answer, err := i.providers.Validate(ctx, &metricproviderv1.ValidateRequest{
				Target: targetTo(runTarget(req)), Config: configTo(req.Config), Inputs: inputsTo(req.Inputs),
			})
			if status.Code(err) == codes.Unimplemented {
				return nil
			}
			if err != nil {
				return err
			}
			said = remark(answer.GetMessage())
			needs, err = needsFrom(answer.GetNeeds())
			return err
		})
	if problem != nil {
		return nil, "", problem
	}
	return needs, said, nil
}

// Measure implements analysis.Provider. The answer may carry Needs and Writes;
// then, and only then, it may have no outcome: feed the needs and call again.
// The error is a *rollout.Problem.
func (p *Provider) Measure(ctx context.Context, req analysis.Request) (analysis.Answer, error) {
	var out analysis.Answer
	problem := p.s.call(ctx, KindMetricProvider, "MetricProvider/Measure", p.s.timing.measure,
		func(ctx context.Context, i *instance) (err error) {
			if i.argo != nil {
				out, err = i.argo.measure(ctx, req)
				return err
			}
			answer, err := i.providers.Measure(ctx, &metricproviderv1.MeasureRequest{
				Target: targetTo(runTarget(req)), Metric: req.Metric.Name, MeasurementId: req.MeasurementID,
				Config: configTo(req.Config), State: req.State, Inputs: inputsTo(req.Inputs),
			})
			if err != nil {
				return err
			}
			out, err = measurementFrom(answer)
			return err
		})
	if problem != nil {
		return analysis.Answer{}, problem
	}
	return out, nil
}

// Cancel implements analysis.Provider.
func (p *Provider) Cancel(ctx context.Context, req analysis.Request) error {
	c, err := p.CancelOnce(ctx, req)
	return p.finished("Cancel", c, err)
}

// Collect implements analysis.Provider.
func (p *Provider) Collect(ctx context.Context, req analysis.Request, keep []string) error {
	c, err := p.CollectOnce(ctx, req, keep)
	return p.finished("Collect", c, err)
}

func (p *Provider) finished(what string, c Cleanup, err error) error {
	if err != nil || c.Done && len(c.Writes) == 0 {
		return err
	}
	problem := waiting("plugin %q is not done with %s yet", p.s.id, what)
	problem.Retry = c.Retry
	return problem
}

// CancelOnce calls the plugin once. Plugins without the capability have
// nothing to cancel, and are not called. The error is a *rollout.Problem.
func (p *Provider) CancelOnce(ctx context.Context, req analysis.Request) (Cleanup, error) {
	out := Cleanup{Done: true}
	if f := p.s.facts(); f != nil && !f.cancels {
		return out, nil
	}
	problem := p.s.call(ctx, KindMetricProvider, "MetricProvider/Cancel", p.s.timing.cancel,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				var err error
				out, err = i.argo.terminate(ctx, req)
				return err
			}
			if !i.cancels {
				return nil
			}
			answer, err := i.providers.Cancel(ctx, &metricproviderv1.CancelRequest{
				Target: targetTo(runTarget(req)), Metric: req.Metric.Name, MeasurementId: req.MeasurementID,
				Config: configTo(req.Config), State: req.State, Inputs: inputsTo(req.Inputs),
			})
			if err != nil {
				return err
			}
			out, err = cleanupFrom(answer)
			return err
		})
	return out, asError(problem)
}

// CollectOnce calls the plugin once, like CancelOnce.
func (p *Provider) CollectOnce(ctx context.Context, req analysis.Request, keep []string) (Cleanup, error) {
	out := Cleanup{Done: true}
	if f := p.s.facts(); f != nil && !f.collects {
		return out, nil
	}
	problem := p.s.call(ctx, KindMetricProvider, "MetricProvider/Collect", p.s.timing.collect,
		func(ctx context.Context, i *instance) error {
			if i.argo != nil {
				var err error
				out, err = i.argo.collect(ctx, req, len(keep))
				return err
			}
			if !i.collects {
				return nil
			}
			answer, err := i.providers.Collect(ctx, &metricproviderv1.CollectRequest{
				Target: targetTo(runTarget(req)), Metric: req.Metric.Name, Config: configTo(req.Config),
				KeepMeasurementIds: keep, Inputs: inputsTo(req.Inputs),
			})
			if err != nil {
				return err
			}
			out, err = cleanupFrom(answer)
			return err
		})
	return out, asError(problem)
}

// asError keeps a nil problem from becoming an error that is not nil.
func asError(p *rollout.Problem) error {
	if p == nil {
		return nil
	}
	return p
}
