package runspec

import (
	"fmt"
	"reflect"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// declaration is an argument with the template that first declared it.
type declaration struct {
	arg  v1alpha1.Argument
	from string
}

// declare merges the arguments of a template: what one leaves open another may
// set, but two may not set different things.
func declare(known []declaration, t template) ([]declaration, error) {
	for _, arg := range t.spec.Args {
		at := -1
		for i := range known {
			if known[i].arg.Name == arg.Name {
				at = i
			}
		}
		if at < 0 {
			known = append(known, declaration{*arg.DeepCopy(), t.label})
			continue
		}
		have := &known[at]
		conflict := func(what string) error {
			return fmt.Errorf("argument %q has two different %s, in %s and in %s: make them the same or remove one",
				arg.Name, what, have.from, t.label)
		}
		switch {
		case have.arg.Value == nil:
			have.arg.Value = arg.DeepCopy().Value
		case arg.Value != nil && *arg.Value != *have.arg.Value:
			return nil, conflict("values")
		}
		switch {
		case have.arg.ValueFrom == nil:
			have.arg.ValueFrom = arg.DeepCopy().ValueFrom
		case arg.ValueFrom != nil && !reflect.DeepEqual(arg.ValueFrom, have.arg.ValueFrom):
			return nil, conflict("sources")
		}
	}
	return known, nil
}

// supply gives the declared arguments the caller's values and errors on the
// first that is left without one.
func supply(declared []declaration, given []v1alpha1.Argument) ([]v1alpha1.Argument, error) {
	var args []v1alpha1.Argument
	for _, d := range declared {
		for _, g := range given {
			if g.Name != d.arg.Name {
				continue
			}
			if g.Value != nil {
				value := *g.Value
				d.arg.Value = &value
			}
			if g.ValueFrom != nil {
				d.arg.ValueFrom = g.ValueFrom.DeepCopy()
			}
		}
		if d.arg.Value == nil && !isSecret(d.arg) {
			return nil, unresolved(d)
		}
		args = append(args, d.arg)
	}
	return args, nil
}

func unresolved(d declaration) error {
	hint := "set it in the args of the analysis, or give it a value in " + d.from
	if d.arg.ValueFrom != nil && d.arg.ValueFrom.FieldRef != nil {
		hint = "fieldRef is resolved in the args of a rollout's analysis only, not in " + d.from
	}
	return fmt.Errorf("args.%s was not resolved: %s", d.arg.Name, hint)
}

func isSecret(arg v1alpha1.Argument) bool {
	return arg.ValueFrom != nil && arg.ValueFrom.SecretKeyRef != nil
}

// Source is what the arguments of a rollout can refer to.
type Source struct {
	Rollout *v1alpha1.Rollout
	// StableHash and LatestHash are pod template hashes; "" while there is no
	// such revision, which is an error for an argument that names it.
	StableHash, LatestHash string
}

// ResolveArgs turns the arguments a rollout gives its analysis into values:
// literals, pod template hashes and fields of the rollout itself.
func ResolveArgs(args []v1alpha1.AnalysisRunArgument, from Source) ([]v1alpha1.Argument, error) {
	var resolved []v1alpha1.Argument
	for _, arg := range args {
		value, err := from.value(arg)
		if err != nil {
			return nil, fmt.Errorf("args.%s: %w", arg.Name, err)
		}
		resolved = append(resolved, v1alpha1.Argument{Name: arg.Name, Value: &value})
	}
	return resolved, nil
}

func (s Source) value(arg v1alpha1.AnalysisRunArgument) (string, error) {
	switch from := arg.ValueFrom; {
	case from == nil:
		return arg.Value, nil
	case from.PodTemplateHashValue != nil:
		return s.hash(*from.PodTemplateHashValue)
	case from.FieldRef != nil:
		return Field(s.Rollout, from.FieldRef.FieldPath)
	}
	return arg.Value, nil
}

func (s Source) hash(which v1alpha1.ValueFromPodTemplateHash) (string, error) {
	hash := ""
	switch which {
	case v1alpha1.PodTemplateHashStable:
		hash = s.StableHash
	case v1alpha1.PodTemplateHashLatest:
		hash = s.LatestHash
	default:
		return "", fmt.Errorf("podTemplateHashValue is %q, must be Stable or Latest", which)
	}
	if hash == "" {
		return "", fmt.Errorf("podTemplateHashValue %s: there is no such revision yet", which)
	}
	return hash, nil
}
