package plugin

import (
	"context"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// lifecycle serves sluice.plugin.lifecycle.v1 from an Info.
type lifecycle struct {
	lifecyclev1.UnimplementedLifecycleServer

	info     Info
	services []Service
}

func (l *lifecycle) Describe(context.Context, *lifecyclev1.DescribeRequest) (*lifecyclev1.DescribeResponse, error) {
	answer := &lifecyclev1.DescribeResponse{
		Name:         l.info.Name,
		Version:      l.info.Version,
		ConfigSchema: l.info.ConfigSchema,
	}
	for _, service := range l.services {
		answer.Services = append(answer.Services, &lifecyclev1.Service{
			Name:         service.Name,
			ConfigSchema: service.ConfigSchema,
		})
	}
	for _, kind := range l.info.Kinds {
		answer.Kinds = append(answer.Kinds, &lifecyclev1.WantedKind{
			Group:         kind.Group,
			Kind:          kind.Kind,
			Verbs:         kind.Verbs,
			LabelSelector: kind.Selector,
		})
	}

	return answer, nil
}

func (l *lifecycle) Configure(ctx context.Context, req *lifecyclev1.ConfigureRequest) (*lifecyclev1.ConfigureResponse, error) {
	raw := req.GetConfig().GetJson()
	rules, err := egress.Parse(req.GetEgress().GetAllow(), req.GetEgress().GetRefuse())
	if err != nil {
		return nil, InvalidConfig("egress", "%v", err)
	}
	if err := l.configure(ctx, raw); err != nil {
		return nil, err
	}
	if l.info.Egress != nil {
		l.info.Egress(rules)
	}

	return &lifecyclev1.ConfigureResponse{}, nil
}

func (l *lifecycle) configure(ctx context.Context, raw []byte) error {
	if l.info.Configure == nil {
		if len(raw) > 0 && string(raw) != "{}" {
			return InvalidConfig("", "plugin %s takes no configuration", l.info.Name)
		}

		return nil
	}

	return l.info.Configure(ctx, raw)
}

func (l *lifecycle) Close(ctx context.Context, _ *lifecyclev1.CloseRequest) (*lifecyclev1.CloseResponse, error) {
	if l.info.Close != nil {
		if err := l.info.Close(ctx); err != nil {
			return nil, err
		}
	}

	return &lifecyclev1.CloseResponse{}, nil
}
