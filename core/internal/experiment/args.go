package experiment

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var placeholder = regexp.MustCompile(`\{\{.*?\}\}`)

// args are what an analysis is given. Values may name the templates and times
// of the experiment; references to Secrets go through as they are.
func (p *planner) args(a v1alpha1.ExperimentAnalysisTemplateRef) ([]v1alpha1.Argument, error) {
	var out []v1alpha1.Argument
	for _, arg := range a.Args {
		arg = *arg.DeepCopy()
		if arg.Value != nil {
			value, err := p.fill(*arg.Value)
			if err != nil {
				return nil, fmt.Errorf("args.%s: %w", arg.Name, err)
			}
			arg.Value = &value
		}
		out = append(out, arg)
	}
	return out, nil
}

func (p *planner) fill(text string) (string, error) {
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(spot string) string {
		value, err := p.lookup(strings.TrimSpace(spot[2 : len(spot)-2]))
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return filled, failed
}

// soon stands for what is only known when the templates run; runs are created
// after that.
const soon = "pending"

func (p *planner) lookup(name string) (string, error) {
	switch name {
	case "experiment.availableAt":
		if p.plan.Status.AvailableAt == nil {
			return soon, nil
		}
		return p.plan.Status.AvailableAt.UTC().Format(time.RFC3339), nil
	case "experiment.finishedAt":
		if p.ex.Spec.Duration == "" {
			return "", fmt.Errorf("{{%s}}: the experiment has no end; set spec.duration", name)
		}
		end, ok := finishAt(p.ex, p.plan.Status)
		if !ok {
			return soon, nil
		}
		return end.UTC().Format(time.RFC3339), nil
	}
	rest, ok := strings.CutPrefix(name, "templates.")
	if !ok {
		return "", unknown(name)
	}
	for _, t := range p.ex.Spec.Templates {
		rs := p.sets[t.Name]
		switch {
		case rest != t.Name+".podTemplateHash" && rest != t.Name+".replicaset.name":
			continue
		case rs == nil:
			return soon, nil
		case rest == t.Name+".podTemplateHash":
			return rollout.Hash(rs), nil
		}
		return rs.Name, nil
	}
	return "", unknown(name)
}

func unknown(name string) error {
	return fmt.Errorf("{{%s}} is unknown: use templates.NAME.podTemplateHash, templates.NAME.replicaset.name, experiment.availableAt or experiment.finishedAt",
		shorten(name))
}

// maxText bounds what is repeated in status from elsewhere.
const maxText = 1 << 10

func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
