package runspec_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
)

type jsonRaw = json.RawMessage

func text(s string) *string { return &s }

func metric(name string, change ...func(*v1alpha1.Metric)) v1alpha1.Metric {
	m := v1alpha1.Metric{Name: name, Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Query: "up"}}}
	for _, c := range change {
		c(&m)
	}
	return m
}

// library is an Input whose references name these templates.
type library struct{ in runspec.Input }

func (l *library) add(name string, spec v1alpha1.AnalysisTemplateSpec) *library {
	if l.in.Templates == nil {
		l.in.Templates = map[string]*v1alpha1.AnalysisTemplate{}
	}
	l.in.Templates[name] = &v1alpha1.AnalysisTemplate{Spec: spec}
	return l
}

func (l *library) cluster(name string, spec v1alpha1.AnalysisTemplateSpec) *library {
	if l.in.ClusterTemplates == nil {
		l.in.ClusterTemplates = map[string]*v1alpha1.ClusterAnalysisTemplate{}
	}
	l.in.ClusterTemplates[name] = &v1alpha1.ClusterAnalysisTemplate{Spec: spec}
	return l
}

func (l *library) use(refs ...v1alpha1.AnalysisTemplateRef) runspec.Input {
	l.in.Refs = refs
	return l.in
}

func ref(name string) v1alpha1.AnalysisTemplateRef {
	return v1alpha1.AnalysisTemplateRef{TemplateName: name}
}

func clusterRef(name string) v1alpha1.AnalysisTemplateRef {
	return v1alpha1.AnalysisTemplateRef{TemplateName: name, ClusterScope: true}
}

func measures(names ...string) v1alpha1.AnalysisTemplateSpec {
	var spec v1alpha1.AnalysisTemplateSpec
	for _, name := range names {
		spec.Metrics = append(spec.Metrics, metric(name))
	}
	return spec
}

func nests(spec v1alpha1.AnalysisTemplateSpec, refs ...v1alpha1.AnalysisTemplateRef) v1alpha1.AnalysisTemplateSpec {
	spec.Templates = refs
	return spec
}

func TestTemplatesAreFlattenedNamespacedFirst(t *testing.T) {
	in := (&library{}).
		cluster("c", measures("from-cluster")).
		add("a", nests(measures("a1", "a2"), ref("b"), clusterRef("c"))).
		add("b", measures("b1")).
		add("only-nests", nests(v1alpha1.AnalysisTemplateSpec{}, ref("b"))).
		use(clusterRef("c"), ref("a"), ref("only-nests"))
	spec, err := runspec.Build(in)
	require.NoError(t, err)
	var names []string
	for _, m := range spec.Metrics {
		names = append(names, m.Name)
	}
	assert.Equal(t, []string{"a1", "a2", "b1", "from-cluster"}, names, "each template once")
}

func TestMissingTemplatesAreDistinguishable(t *testing.T) {
	_, err := runspec.Build((&library{}).use(ref("nope")))
	var missing *runspec.MissingTemplateError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, &runspec.MissingTemplateError{Kind: "AnalysisTemplate", Name: "nope"}, missing)
	assert.EqualError(t, err, `AnalysisTemplate "nope" not found: create it or correct templateName`)

	_, err = runspec.Build((&library{}).add("a", nests(measures("m"), clusterRef("x"))).use(ref("a")))
	assert.EqualError(t, err, `ClusterAnalysisTemplate "x" not found (named by AnalysisTemplate "a"): create it or correct templateName`)
}

func TestCirclesAreReported(t *testing.T) {
	in := (&library{}).
		add("a", nests(measures("a"), ref("b"))).
		add("b", nests(measures("b"), clusterRef("c"))).
		cluster("c", nests(measures("c"), ref("b"))).
		use(ref("a"))
	_, err := runspec.Build(in)
	var cycle *runspec.CycleError
	require.ErrorAs(t, err, &cycle)
	assert.Equal(t, []string{`AnalysisTemplate "b"`, `ClusterAnalysisTemplate "c"`, `AnalysisTemplate "b"`}, cycle.Path)

	_, err = runspec.Build((&library{}).add("self", nests(measures("a"), ref("self"))).use(ref("self")))
	require.ErrorAs(t, err, &cycle)
}

func TestAMalformedTemplateIsNamed(t *testing.T) {
	l := (&library{}).add("a", measures("m"))
	l.in.Templates["a"].Malformed = []v1alpha1.MalformedField{{Path: "spec.metrics[0].provider.job", Problem: "not a quantity"}}
	_, err := runspec.Build(l.use(ref("a")))
	assert.EqualError(t, err, `AnalysisTemplate "a" cannot be read at spec.metrics[0].provider.job: not a quantity`)
}

func TestDuplicateMetricsNameBothTemplates(t *testing.T) {
	_, err := runspec.Build((&library{}).add("a", measures("m")).add("b", measures("m")).use(ref("a"), ref("b")))
	assert.EqualError(t, err, `two metrics have the same name "m", in AnalysisTemplate "a" and in AnalysisTemplate "b": rename one`)
}

func arg(name string, value *string) v1alpha1.Argument {
	return v1alpha1.Argument{Name: name, Value: value}
}

func declares(args ...v1alpha1.Argument) v1alpha1.AnalysisTemplateSpec {
	return v1alpha1.AnalysisTemplateSpec{Args: args}
}

func TestArgumentsAreMerged(t *testing.T) {
	secret := &v1alpha1.ValueFrom{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "s", Key: "k"}}
	field := &v1alpha1.ValueFrom{FieldRef: &v1alpha1.FieldRef{FieldPath: "metadata.name"}}
	for _, c := range []struct {
		story string
		a, b  v1alpha1.AnalysisTemplateSpec
		given []v1alpha1.Argument
		want  []v1alpha1.Argument
		err   string
	}{
		{story: "one fills what the other leaves open",
			a: declares(arg("x", nil)), b: declares(arg("x", text("1"))), want: []v1alpha1.Argument{arg("x", text("1"))}},
		{story: "the same twice",
			a: declares(arg("x", text("1"))), b: declares(arg("x", text("1"))), want: []v1alpha1.Argument{arg("x", text("1"))}},
		{story: "a conflict", a: declares(arg("x", text("1"))), b: declares(arg("x", text("2"))), given: []v1alpha1.Argument{arg("x", text("3"))},
			err: `argument "x" has two different values, in AnalysisTemplate "a" and in AnalysisTemplate "b": make them the same or remove one`},
		{story: "the caller wins over a default", a: declares(arg("x", text("1"))), given: []v1alpha1.Argument{arg("x", text(""))},
			want: []v1alpha1.Argument{arg("x", text(""))}},
		{story: "unknown names are ignored", a: declares(), given: []v1alpha1.Argument{arg("y", text("1"))}},
		{story: "nobody gives a value", a: declares(arg("x", nil)),
			err: `args.x was not resolved: set it in the args of the analysis, or give it a value in AnalysisTemplate "a"`},
		{story: "a secret needs no value", a: declares(v1alpha1.Argument{Name: "x", ValueFrom: secret}),
			want: []v1alpha1.Argument{{Name: "x", ValueFrom: secret}}},
		{story: "a field of nothing", a: declares(v1alpha1.Argument{Name: "x", ValueFrom: field}),
			err: `args.x was not resolved: fieldRef is resolved in the args of a rollout's analysis only, not in AnalysisTemplate "a"`},
	} {
		t.Run(c.story, func(t *testing.T) {
			in := (&library{}).add("a", c.a).add("b", c.b).add("m", measures("m")).use(ref("a"), ref("b"), ref("m"))
			in.Args = c.given
			spec, err := runspec.Build(in)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, spec.Args)
		})
	}
}

func TestTheSpecSharesNothingWithTheTemplates(t *testing.T) {
	l := (&library{}).add("a", v1alpha1.AnalysisTemplateSpec{
		Metrics: []v1alpha1.Metric{metric("m")}, Args: []v1alpha1.Argument{arg("x", text("1"))},
		DryRun: []v1alpha1.DryRun{{MetricName: "m"}},
	})
	before := l.in.Templates["a"].DeepCopy()
	spec, err := runspec.Build(l.use(ref("a")))
	require.NoError(t, err)
	spec.Metrics[0].Provider.Prometheus.Query = "changed"
	*spec.Args[0].Value = "changed"
	spec.DryRun[0].MetricName = "changed"
	assert.Equal(t, before, l.in.Templates["a"])
}

func TestStepsNeedAnEnd(t *testing.T) {
	endless := measures()
	endless.Metrics = []v1alpha1.Metric{metric("m", func(m *v1alpha1.Metric) { m.Interval = "10s" })}
	spec, err := runspec.Build((&library{}).add("a", endless).use(ref("a")))
	require.NoError(t, err, "fine for a background analysis")
	assert.EqualError(t, runspec.Finite(spec), `metric "m" would be measured for ever: set its count (only a background analysis may leave it out)`)

	spec, err = runspec.Build((&library{}).add("a", measures("m")).use(ref("a")))
	require.NoError(t, err)
	assert.NoError(t, runspec.Finite(spec), "without an interval it is measured once")
}

func rollout() *v1alpha1.Rollout {
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{
		Name: "shop", Namespace: "prod", UID: "u-1",
		Labels:      map[string]string{"app": "shop", "b.c/d": "x y"},
		Annotations: map[string]string{"note": `a"b`},
	}}
	weight := int32(25)
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{Steps: []v1alpha1.CanaryStep{{SetWeight: &weight}}}
	return ro
}

func TestFieldsOfARollout(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name":                               "shop",
		"metadata.namespace":                          "prod",
		"metadata.uid":                                "u-1",
		"metadata.labels['app']":                      "shop",
		"metadata.labels['b.c/d']":                    "x y",
		"metadata.labels['none']":                     "",
		"metadata.annotations['note']":                `a"b`,
		"metadata.labels":                             "app=\"shop\"\nb.c/d=\"x y\"",
		"spec.strategy.canary.steps[0].setWeight":     "25",
		".spec.strategy.canary.steps.0.setWeight":     "25",
		"spec.strategy.canary.steps[1].setWeight":     "!",
		"spec.strategy.canary.steps[first].setWeight": "!",
		"spec.strategy":                               "!",
		"spec.nothing":                                "!",
		"metadata.generation":                         "!",
		"":                                            "!",
	} {
		got, err := runspec.Field(rollout(), path)
		if want == "!" {
			assert.Error(t, err, path)
			continue
		}
		require.NoError(t, err, path)
		assert.Equal(t, want, got, path)
	}
}

func TestArgumentsOfARollout(t *testing.T) {
	stable, latest := v1alpha1.PodTemplateHashStable, v1alpha1.PodTemplateHashLatest
	args := []v1alpha1.AnalysisRunArgument{
		{Name: "plain", Value: "v"},
		{Name: "stable", ValueFrom: &v1alpha1.ArgumentValueFrom{PodTemplateHashValue: &stable}},
		{Name: "latest", ValueFrom: &v1alpha1.ArgumentValueFrom{PodTemplateHashValue: &latest}},
		{Name: "field", ValueFrom: &v1alpha1.ArgumentValueFrom{FieldRef: &v1alpha1.FieldRef{FieldPath: "metadata.name"}}},
	}
	got, err := runspec.ResolveArgs(args, runspec.Source{Rollout: rollout(), StableHash: "aaa", LatestHash: "bbb"})
	require.NoError(t, err)
	assert.Equal(t, []v1alpha1.Argument{arg("plain", text("v")), arg("stable", text("aaa")), arg("latest", text("bbb")), arg("field", text("shop"))}, got)

	_, err = runspec.ResolveArgs(args, runspec.Source{Rollout: rollout(), LatestHash: "bbb"})
	assert.EqualError(t, err, "args.stable: podTemplateHashValue Stable: there is no such revision yet")
}

func noSecret(v1alpha1.SecretKeyRef) (string, error) { return "", errors.New("unexpected") }

func TestArgumentsAreFilledInFieldByField(t *testing.T) {
	count := intstr.FromString("{{ args.n }}")
	m := metric("of {{args.app}}", func(m *v1alpha1.Metric) {
		m.Count, m.Interval, m.SuccessCondition = &count, "{{args.n}}s", "result < {{args.n}}"
		m.Provider = v1alpha1.MetricProvider{Plugin: map[string]jsonRaw{
			"x/y": jsonRaw(`{"query":"rate({app=\"{{args.app}}\"})","list":[{"{{args.app}}":1.50}],"big":12345678901234567890}`),
		}}
	})
	evil := `a","injected":"{{args.n}}`
	got, err := runspec.Resolve(m, []v1alpha1.Argument{arg("n", text("3")), arg("app", text(evil))}, noSecret)
	require.NoError(t, err)
	assert.Equal(t, "of "+evil, got.Name)
	assert.Equal(t, intstr.FromInt32(3), *got.Count)
	assert.EqualValues(t, "3s", got.Interval)
	assert.Equal(t, "result <  3 ", got.SuccessCondition)
	assert.JSONEq(t, `{"query":"rate({app=\"a\",\"injected\":\"{{args.n}}\"})","list":[{"a\",\"injected\":\"{{args.n}}":1.50}],"big":12345678901234567890}`,
		string(got.Provider.Plugin["x/y"]))
	assert.Contains(t, string(got.Provider.Plugin["x/y"]), "12345678901234567890", "numbers stay as written")
}

func TestWrongPlaceholdersNameMetricFieldAndArgument(t *testing.T) {
	args := []v1alpha1.Argument{arg("n", text("1 || true")), arg("open", nil),
		{Name: "secret", ValueFrom: &v1alpha1.ValueFrom{SecretKeyRef: &v1alpha1.SecretKeyRef{}}}}
	for want, change := range map[string]func(*v1alpha1.Metric){
		`metric "m": provider.prometheus.query: {{.Values.x}} is unknown: only {{args.NAME}} can be used`: func(m *v1alpha1.Metric) {
			m.Provider.Prometheus.Query = "{{ .Values.x }}"
		},
		`metric "m": provider.prometheus.headers[0].value: {{args.no}} is unknown: no argument has this name`: func(m *v1alpha1.Metric) {
			m.Provider.Prometheus.Headers = []v1alpha1.WebMetricHeader{{Key: "a", Value: "{{args.no}}"}}
		},
		`metric "m": successCondition "result < {{args.n}}": args.n is "1 || true"; outside of quotes only a number, true or false can be used`: func(m *v1alpha1.Metric) {
			m.SuccessCondition = "result < {{args.n}}"
		},
		`metric "m": count: "1 || true" is not an integer of 32 bits`: func(m *v1alpha1.Metric) {
			count := intstr.FromString("{{args.n}}")
			m.Count = &count
		},
		`metric "m": failureCondition "{{args.open}} > 1": args.open was not resolved: give the argument a value`: func(m *v1alpha1.Metric) {
			m.FailureCondition = "{{args.open}} > 1"
		},
		`metric "m": interval: args.secret comes from a Secret and can only be used in the provider and in conditions`: func(m *v1alpha1.Metric) {
			m.Interval = "{{args.secret}}"
		},
	} {
		_, err := runspec.Resolve(metric("m", change), args, noSecret)
		assert.EqualError(t, err, want)
	}
}

// TestArgumentsNeverChangeTheShape: whatever the text, the metric has the same
// fields, and the query is the template with that text in it.
func TestArgumentsNeverChangeTheShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\{}argsx., \n]{0,20}`)).Draw(t, "value")
		m := metric("m", func(m *v1alpha1.Metric) { m.Provider.Prometheus.Query = "<{{args.x}}>" })
		got, err := runspec.Resolve(m, []v1alpha1.Argument{arg("x", &value)}, noSecret)
		require.NoError(t, err)
		want := m.DeepCopy()
		want.Provider.Prometheus.Query = "<" + value + ">"
		assert.Equal(t, *want, got)
	})
}
