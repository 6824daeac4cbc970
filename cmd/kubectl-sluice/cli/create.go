package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func (p *program) create() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "create -f FILE", Short: "Create objects from files, or an analysis run from a template", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(names) == 0 {
				return usage("give -f FILE, or 'create analysisrun --from TEMPLATE'")
			}
			return p.createFiles(cmd.Context(), names)
		},
	}
	cmd.Flags().StringSliceVarP(&names, "filename", "f", nil, "files or folders with manifests; - is stdin")
	cmd.AddCommand(p.createAnalysisRun())
	return cmd
}

func (p *program) createFiles(ctx context.Context, names []string) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	names, err = expand(names)
	if err != nil {
		return err
	}
	for _, file := range names {
		objects, err := p.manifests(file)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if o.GetNamespace() == "" && o.GetKind() != v1alpha1.KindClusterAnalysisTemplate {
				o.SetNamespace(c.namespace)
			}
			if err := c.Create(ctx, o, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				return fmt.Errorf("%s: %w", file, explain(err))
			}
			p.printf("%s '%s' created\n", strings.ToLower(o.GetKind()), o.GetName())
		}
	}
	return nil
}

// manifests are the objects of a file with one or several documents.
func (p *program) manifests(file string) ([]*unstructured.Unstructured, error) {
	raw, err := p.read(file)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for n := 1; ; n++ {
		o := &unstructured.Unstructured{}
		switch err := docs.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s, document %d: %w", file, n, err)
		case len(o.Object) == 0:
			continue
		case o.GetKind() == "" || o.GetAPIVersion() == "":
			return nil, fmt.Errorf("%s, document %d: has no apiVersion and kind; every manifest needs both", file, n)
		}
		out = append(out, o)
	}
}

func (p *program) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(p.In)
	}
	return os.ReadFile(file)
}

type runRequest struct {
	from, file         string
	global             bool
	args               []string
	name, generateName string
	instance           string
}

func (p *program) createAnalysisRun() *cobra.Command {
	var r runRequest
	cmd := &cobra.Command{
		Use: "analysisrun --from TEMPLATE", Aliases: []string{"ar", "analysisruns"}, Short: "Measure once what a template describes",
		Example: "  kubectl sluice create analysisrun --from error-ratio -a service=web",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.runTemplate(cmd.Context(), r) },
	}
	f := cmd.Flags()
	f.StringVar(&r.from, "from", "", "the AnalysisTemplate in the cluster")
	f.StringVar(&r.file, "from-file", "", "a file with the AnalysisTemplate; - is stdin")
	f.BoolVar(&r.global, "global", false, "--from names a ClusterAnalysisTemplate")
	f.StringArrayVarP(&r.args, "argument", "a", nil, "NAME=VALUE of an argument of the template")
	f.StringVar(&r.name, "name", "", "name of the run (default: that of the template and something random)")
	f.StringVar(&r.generateName, "generate-name", "", "beginning of a name that is made up")
	f.StringVar(&r.instance, "instance-id", "", "the controller instance that is to run it")
	cmd.MarkFlagsMutuallyExclusive("from", "from-file")
	cmd.MarkFlagsOneRequired("from", "from-file")
	_ = cmd.RegisterFlagCompletionFunc("from", p.complete(func() client.ObjectList { return &v1alpha1.AnalysisTemplateList{} })) // the flag exists
	return cmd
}

func (p *program) runTemplate(ctx context.Context, r runRequest) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	name, spec, err := p.templateFor(ctx, c, r)
	if err != nil {
		return err
	}
	run, err := r.build(name, spec)
	if err != nil {
		return err
	}
	run.Namespace = c.namespace
	if err := c.Create(ctx, run); err != nil {
		return err
	}
	p.printf("analysisrun '%s' created\n", run.Name)
	return nil
}

func (p *program) templateFor(ctx context.Context, c *cluster, r runRequest) (string, v1alpha1.AnalysisTemplateSpec, error) {
	switch {
	case r.file != "":
		objects, err := p.manifests(r.file)
		if err != nil {
			return "", v1alpha1.AnalysisTemplateSpec{}, err
		}
		for _, o := range objects {
			if o.GetKind() == v1alpha1.KindAnalysisTemplate || o.GetKind() == v1alpha1.KindClusterAnalysisTemplate {
				var t v1alpha1.AnalysisTemplate
				raw, err := o.MarshalJSON()
				if err == nil {
					err = t.UnmarshalJSON(raw)
				}
				return o.GetName(), t.Spec, err
			}
		}
		return "", v1alpha1.AnalysisTemplateSpec{}, fmt.Errorf("%s: has no AnalysisTemplate", r.file)
	case r.global:
		t := &v1alpha1.ClusterAnalysisTemplate{}
		global := *c
		global.namespace = ""
		err := global.find(ctx, r.from, t, &v1alpha1.ClusterAnalysisTemplateList{})
		return t.Name, t.Spec, err
	}
	t := &v1alpha1.AnalysisTemplate{}
	err := c.find(ctx, r.from, t, &v1alpha1.AnalysisTemplateList{})
	return t.Name, t.Spec, err
}

// build is the run of a template with the arguments.
func (r runRequest) build(template string, spec v1alpha1.AnalysisTemplateSpec) (*v1alpha1.AnalysisRun, error) {
	if len(spec.Templates) > 0 {
		return nil, fmt.Errorf("template %s refers to other templates; a run cannot: create one from each of them", template)
	}
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Name: r.name, GenerateName: r.generateName},
		Spec: v1alpha1.AnalysisRunSpec{Metrics: spec.Metrics, DryRun: spec.DryRun, MeasurementRetention: spec.MeasurementRetention}}
	if r.name == "" && r.generateName == "" {
		run.GenerateName = template + "-"
	}
	if r.instance != "" {
		run.Labels = map[string]string{v1alpha1.LabelInstanceID: r.instance}
	}
	args := slices.Clone(spec.Args)
	for _, a := range r.args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, usage("%q is not NAME=VALUE", a)
		}
		at := slices.IndexFunc(args, func(a v1alpha1.Argument) bool { return a.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("template %s has no argument %q", template, name)
		}
		args[at].Value, args[at].ValueFrom = &value, nil
	}
	for _, a := range args {
		if a.Value == nil && a.ValueFrom == nil {
			return nil, fmt.Errorf("argument %q of template %s has no value; give -a %s=VALUE", a.Name, template, a.Name)
		}
	}
	run.Spec.Args = args
	return run, nil
}
