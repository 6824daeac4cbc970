package runspec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Input is what a run is made of.
type Input struct {
	// Refs name the templates, in the order of the caller's spec.
	Refs []v1alpha1.AnalysisTemplateRef
	// Templates and ClusterTemplates by name, with everything they nest; one
	// that is absent does not exist. Nobody modifies them.
	Templates        map[string]*v1alpha1.AnalysisTemplate
	ClusterTemplates map[string]*v1alpha1.ClusterAnalysisTemplate
	// Args are given by the caller (ResolveArgs for a rollout). Those that no
	// template declares are ignored.
	Args []v1alpha1.Argument
	// DryRun and MeasurementRetention of the caller come before those of the
	// templates.
	DryRun               []v1alpha1.DryRun
	MeasurementRetention []v1alpha1.MeasurementRetention
}

// MissingTemplateError says that a template does not exist.
type MissingTemplateError struct {
	// Kind is AnalysisTemplate or ClusterAnalysisTemplate.
	Kind, Name string
	// From is the template that names it, as `AnalysisTemplate "x"`; empty when
	// the caller does.
	From string
}

func (e *MissingTemplateError) Error() string {
	from := ""
	if e.From != "" {
		from = " (named by " + e.From + ")"
	}
	return fmt.Sprintf("%s %q not found%s: create it or correct templateName", e.Kind, e.Name, from)
}

// CycleError says that templates nest each other.
type CycleError struct {
	// Path begins and ends with the same template.
	Path []string
}

func (e *CycleError) Error() string {
	return "templates nest each other in a circle: " + strings.Join(e.Path, " → ") + "; remove one of these references"
}

// Build flattens the templates into one spec: metrics of namespaced templates
// first, then those of cluster templates, each template once; arguments
// merged and complete. It errors, naming what is wrong and what to do, when a
// template is missing (*MissingTemplateError) or in a circle (*CycleError),
// two metrics share a name, argument values conflict, an argument has no
// value, or Validate finds something. The result shares nothing with the input.
func Build(in Input) (v1alpha1.AnalysisRunSpec, error) {
	g := gatherer{in: in, seen: map[string]bool{}}
	if err := g.gather(in.Refs, "", nil); err != nil {
		return v1alpha1.AnalysisRunSpec{}, err
	}
	spec := v1alpha1.AnalysisRunSpec{
		DryRun:               slices.Clone(in.DryRun),
		MeasurementRetention: slices.Clone(in.MeasurementRetention),
	}
	var declared []declaration
	owner := map[string]string{}
	for _, t := range append(g.namespaced, g.cluster...) {
		for _, metric := range t.spec.Metrics {
			if first, twice := owner[metric.Name]; twice {
				return spec, fmt.Errorf("two metrics have the same name %q, in %s and in %s: rename one", metric.Name, first, t.label)
			}
			owner[metric.Name] = t.label
			spec.Metrics = append(spec.Metrics, *metric.DeepCopy())
		}
		var err error
		if declared, err = declare(declared, t); err != nil {
			return spec, err
		}
		spec.DryRun = append(spec.DryRun, t.spec.DryRun...)
		spec.MeasurementRetention = append(spec.MeasurementRetention, t.spec.MeasurementRetention...)
	}
	var err error
	if spec.Args, err = supply(declared, in.Args); err != nil {
		return spec, err
	}
	return spec, Validate(spec)
}

// Finite reports which metric would never end: a step and a pre- or
// post-promotion analysis have to. Nil when every metric has an effective
// count. The spec is one that Build made.
func Finite(spec v1alpha1.AnalysisRunSpec) error {
	for _, metric := range spec.Metrics {
		resolved, err := Resolve(metric, spec.Args, placeholderSecret)
		if err != nil {
			return err
		}
		limits, err := LimitsOf(resolved)
		if err != nil {
			return fmt.Errorf("metric %q: %w", metric.Name, err)
		}
		if limits.Count == nil {
			return fmt.Errorf("metric %q would be measured for ever: set its count (only a background analysis may leave it out)", metric.Name)
		}
	}
	return nil
}

// template is a namespaced or a cluster template.
type template struct {
	label string
	spec  v1alpha1.AnalysisTemplateSpec
}

type gatherer struct {
	in                  Input
	seen                map[string]bool
	namespaced, cluster []template
}

// gather collects the templates, each once, depth first. Path holds the labels
// of those being gathered.
func (g *gatherer) gather(refs []v1alpha1.AnalysisTemplateRef, from string, path []string) error {
	for _, ref := range refs {
		t, malformed, found := g.find(ref)
		kind := kindOf(ref)
		if !found {
			return &MissingTemplateError{Kind: kind, Name: ref.TemplateName, From: from}
		}
		if at := slices.Index(path, t.label); at >= 0 {
			return &CycleError{Path: append(slices.Clone(path[at:]), t.label)}
		}
		if len(malformed) > 0 {
			return fmt.Errorf("%s cannot be read at %s: %s", t.label, malformed[0].Path, malformed[0].Problem)
		}
		if g.seen[t.label] {
			continue
		}
		g.seen[t.label] = true
		if ref.ClusterScope {
			g.cluster = append(g.cluster, t)
		} else {
			g.namespaced = append(g.namespaced, t)
		}
		if err := g.gather(t.spec.Templates, t.label, append(path, t.label)); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) find(ref v1alpha1.AnalysisTemplateRef) (t template, malformed []v1alpha1.MalformedField, found bool) {
	t.label = fmt.Sprintf("%s %q", kindOf(ref), ref.TemplateName)
	if ref.ClusterScope {
		if c := g.in.ClusterTemplates[ref.TemplateName]; c != nil {
			t.spec, malformed, found = c.Spec, c.Malformed, true
		}
		return t, malformed, found
	}
	if n := g.in.Templates[ref.TemplateName]; n != nil {
		t.spec, malformed, found = n.Spec, n.Malformed, true
	}
	return t, malformed, found
}

func kindOf(ref v1alpha1.AnalysisTemplateRef) string {
	if ref.ClusterScope {
		return v1alpha1.KindClusterAnalysisTemplate
	}
	return v1alpha1.KindAnalysisTemplate
}
