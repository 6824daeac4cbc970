package experiment

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

var epoch = time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)

func template(name string) v1alpha1.TemplateSpec {
	labels := map[string]string{"app": "shop"}
	return v1alpha1.TemplateSpec{
		Name: name, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}},
	}
}

func of(templates ...v1alpha1.TemplateSpec) *v1alpha1.Experiment {
	return &v1alpha1.Experiment{
		ObjectMeta: metav1.ObjectMeta{Name: "compare", Namespace: "shop", UID: "uid-1"},
		Spec:       v1alpha1.ExperimentSpec{Templates: templates},
	}
}

func TestWhatKeepsAnExperimentFromBeingRun(t *testing.T) {
	number := func(n int32) *int32 { return &n }
	for message, change := range map[string]func(*v1alpha1.Experiment){
		"spec.templates[1].name: must be set":                          func(ex *v1alpha1.Experiment) { ex.Spec.Templates[1].Name = "" },
		`spec.templates[1].name: "a" is there twice`:                   func(ex *v1alpha1.Experiment) { ex.Spec.Templates[1].Name = "a" },
		"spec.templates[0].selector: must be set":                      func(ex *v1alpha1.Experiment) { ex.Spec.Templates[0].Selector = nil },
		"spec.templates[0].selector: must be set, and not select all ": func(ex *v1alpha1.Experiment) { ex.Spec.Templates[0].Selector = &metav1.LabelSelector{} },
		"spec.templates[1].selector: does not match":                   func(ex *v1alpha1.Experiment) { ex.Spec.Templates[1].Template.Labels = nil },
		"spec.templates[0].minReadySeconds: 601 is longer":             func(ex *v1alpha1.Experiment) { ex.Spec.Templates[0].MinReadySeconds = 601 },
		"spec.templates[0].minReadySeconds: 11 is longer": func(ex *v1alpha1.Experiment) {
			ex.Spec.Templates[0].MinReadySeconds = 11
			ex.Spec.ProgressDeadlineSeconds = number(10)
		},
		"spec.templates[0].replicas: must be 0 or more": func(ex *v1alpha1.Experiment) { ex.Spec.Templates[0].Replicas = number(-1) },
		`spec.duration: "5" is not a duration`:          func(ex *v1alpha1.Experiment) { ex.Spec.Duration = "5" },
		`spec.duration: "-5s" is not a duration`:        func(ex *v1alpha1.Experiment) { ex.Spec.Duration = "-5s" },
		"spec.scaleDownDelaySeconds: must be 0 or more": func(ex *v1alpha1.Experiment) { ex.Spec.ScaleDownDelaySeconds = number(-1) },
		"spec.analyses[0].name: must be set":            func(ex *v1alpha1.Experiment) { ex.Spec.Analyses[0].Name = "" },
		`spec.analyses[1].name: "x" is there twice`:     func(ex *v1alpha1.Experiment) { ex.Spec.Analyses[1].Name = "x" },
		"spec.analyses[1].templateName: must be set":    func(ex *v1alpha1.Experiment) { ex.Spec.Analyses[1].TemplateName = "" },
		"spec.templates[0].replicas cannot be read: x": func(ex *v1alpha1.Experiment) {
			ex.Malformed = []v1alpha1.MalformedField{{Path: "spec.templates[0].replicas", Problem: "x"}}
		},
	} {
		ex := of(template("a"), template("b"))
		ex.Spec.Analyses = []v1alpha1.ExperimentAnalysisTemplateRef{{Name: "x", TemplateName: "t"}, {Name: "y", TemplateName: "t"}}
		require.Empty(t, invalid(ex))
		change(ex)
		assert.True(t, strings.HasPrefix(invalid(ex), message), "%s: %s", message, invalid(ex))

		s := &Snapshot{Now: epoch, Experiment: ex}
		plan := Decide(s)
		assert.Empty(t, plan.Ops, "nothing is done for a spec that cannot be run")
		st := Record(s, plan, rollout.Outcome{}).Status
		require.Len(t, st.Conditions, 1)
		assert.Equal(t, v1alpha1.ExperimentInvalidSpec, st.Conditions[0].Type)
		assert.Equal(t, "InvalidSpec: "+plan.Invalid, st.Message)
		assert.False(t, st.Phase.Completed())

		ex.Spec.Terminate = true
		assert.Equal(t, v1alpha1.AnalysisPhaseSuccessful, Decide(s).Status.Phase, "it can be ended all the same: %s", message)
	}
}

// TestASelectorMayNameTheInheritedHash: templates are copied from ReplicaSets.
func TestASelectorMayNameTheInheritedHash(t *testing.T) {
	tpl := template("a")
	tpl.Selector.MatchLabels = map[string]string{"app": "shop", v1alpha1.LabelPodTemplateHash: "old"}
	tpl.Template.Labels = map[string]string{"app": "shop", v1alpha1.LabelPodTemplateHash: "old"}
	ex := of(tpl)
	require.Empty(t, invalid(ex))
	rs := Decide(&Snapshot{Now: epoch, Experiment: ex}).Ops[0].(CreateReplicaSet).ReplicaSet
	hash := rs.Labels[v1alpha1.LabelPodTemplateHash]
	assert.NotEqual(t, "old", hash)
	assert.Equal(t, hash, rs.Spec.Selector.MatchLabels[v1alpha1.LabelPodTemplateHash])
	assert.Equal(t, hash, rs.Spec.Template.Labels[v1alpha1.LabelPodTemplateHash])
	assert.Equal(t, "old", ex.Spec.Templates[0].Selector.MatchLabels[v1alpha1.LabelPodTemplateHash], "the spec is shared")
}

func TestArguments(t *testing.T) {
	at := metav1.NewTime(epoch)
	ex := of(template("a"), template("b.c"))
	ex.Spec.Duration = "5m"
	rs := func(name, hash string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelPodTemplateHash: hash}}}
	}
	p := &planner{
		s: &Snapshot{Experiment: ex}, ex: ex,
		sets: map[string]*appsv1.ReplicaSet{"a": rs("compare-a", "abc"), "b.c": rs("compare-b.c-1", "def")},
		plan: Plan{Status: v1alpha1.ExperimentStatus{AvailableAt: &at}},
	}
	for text, want := range map[string]string{
		"plain": "plain",
		"{{templates.a.podTemplateHash}}-{{ templates.b.c.podTemplateHash }}": "abc-def",
		"{{templates.b.c.replicaset.name}}":                                   "compare-b.c-1",
		"{{experiment.availableAt}}/{{experiment.finishedAt}}":                "2026-08-22T12:00:00Z/2026-08-22T12:05:00Z",
	} {
		got, err := p.fill(text)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, text := range []string{"{{templates.x.podTemplateHash}}", "{{templates.a.name}}", "{{args.x}}", "{{}}"} {
		_, err := p.fill(text)
		assert.ErrorContains(t, err, "is unknown: use templates.NAME.podTemplateHash", text)
	}
	ex.Spec.Duration = ""
	_, err := p.fill("{{experiment.finishedAt}}")
	assert.ErrorContains(t, err, "set spec.duration")
}

func TestRulesAboutMetricsHoldForAllAnalysesTogether(t *testing.T) {
	metric := func(name string) v1alpha1.AnalysisTemplateSpec {
		return v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{Name: name, Provider: v1alpha1.MetricProvider{Prometheus: &v1alpha1.PrometheusMetric{Query: "q"}}}}}
	}
	ex := of(template("a"))
	ex.Spec.Analyses = []v1alpha1.ExperimentAnalysisTemplateRef{{Name: "x", TemplateName: "errors"}, {Name: "y", TemplateName: "latency", ClusterScope: true}}
	ex.Spec.DryRun = []v1alpha1.DryRun{{MetricName: "^latency$"}}
	ex.Spec.MeasurementRetention = []v1alpha1.MeasurementRetention{{MetricName: ".*", Limit: 20}}
	s := &Snapshot{
		Now: epoch, Experiment: ex,
		Templates:        map[string]*v1alpha1.AnalysisTemplate{"errors": {Spec: metric("errors")}},
		ClusterTemplates: map[string]*v1alpha1.ClusterAnalysisTemplate{"latency": {Spec: metric("latency")}},
	}
	p := &planner{s: s, ex: ex}
	x, err := p.runSpec(ex.Spec.Analyses[0])
	require.NoError(t, err)
	assert.Empty(t, x.DryRun)
	assert.Len(t, x.MeasurementRetention, 1)
	y, err := p.runSpec(ex.Spec.Analyses[1])
	require.NoError(t, err)
	assert.Equal(t, ex.Spec.DryRun, y.DryRun)

	ex.Spec.DryRun[0].MetricName = "typo"
	st := Decide(s).Status
	assert.Equal(t, v1alpha1.AnalysisPhaseError, st.Phase)
	assert.Contains(t, st.Message, `spec.dryRun: the rule "typo" is about no metric of any analysis`)
}

// TestReferencesToSecretsReachTheRun: Argo Rollouts drops them.
func TestReferencesToSecretsReachTheRun(t *testing.T) {
	ref := &v1alpha1.ValueFrom{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "token", Key: "value"}}
	ex := of(template("a"))
	p := &planner{s: &Snapshot{Experiment: ex}, ex: ex}
	args, err := p.args(v1alpha1.ExperimentAnalysisTemplateRef{Args: []v1alpha1.Argument{{Name: "token", ValueFrom: ref}}})
	require.NoError(t, err)
	assert.Equal(t, ref, args[0].ValueFrom)
}

// TestAPassIsAFunctionOfItsSnapshot and leaves it as it was.
func TestAPassIsAFunctionOfItsSnapshot(t *testing.T) {
	ex := of(template("a"), template("b"))
	ex.Status.TemplateStatuses = []v1alpha1.TemplateStatus{{Name: "a", Status: v1alpha1.TemplateStatusProgressing}}
	s := &Snapshot{Now: epoch, Experiment: ex}
	before := ex.DeepCopy()
	plan := Decide(s)
	assert.Equal(t, plan, Decide(s))
	assert.Equal(t, Record(s, plan, rollout.Outcome{}), Record(s, plan, rollout.Outcome{}))
	assert.Equal(t, before, ex)
}

func TestStatusStaysSmall(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	ex := of(template("a"))
	ex.Spec.Analyses = []v1alpha1.ExperimentAnalysisTemplateRef{{Name: "x", TemplateName: "errors"}}
	ex.Status.AnalysisRuns = []v1alpha1.ExperimentAnalysisRunStatus{{Name: "x", AnalysisRun: "compare-x", Phase: v1alpha1.AnalysisPhaseRunning}}
	run := &v1alpha1.AnalysisRun{ObjectMeta: metav1.ObjectMeta{Name: "compare-x"}}
	run.Status.Phase, run.Status.Message = v1alpha1.AnalysisPhaseFailed, huge
	st := Decide(&Snapshot{Now: epoch, Experiment: ex, AnalysisRuns: []*v1alpha1.AnalysisRun{run}}).Status
	assert.Less(t, len(st.Message)+len(st.AnalysisRuns[0].Message), 3<<10)
}

func TestPortsOfAService(t *testing.T) {
	tpl := template("a")
	tpl.Service = &v1alpha1.TemplateService{Name: "other"}
	tpl.Template.Spec.Containers = []corev1.Container{
		{Ports: []corev1.ContainerPort{{Name: "http-web", ContainerPort: 80}, {ContainerPort: 90}}},
		{Ports: []corev1.ContainerPort{{Name: "http-web", ContainerPort: 81}, {ContainerPort: 90}, {ContainerPort: 90, Protocol: "UDP"}}},
	}
	svc := service(of(tpl), tpl, "compare-a", map[string]string{"a": "b"})
	assert.Equal(t, "other", svc.Name)
	var got []string
	for _, p := range svc.Spec.Ports {
		got = append(got, p.Name+"="+p.TargetPort.String()+string(p.Protocol))
	}
	assert.Equal(t, []string{"http-web=80", "port-2=90", "port-3=81", "port-4=90UDP"}, got)

	tpl.Template.Spec.Containers = nil
	assert.False(t, wantsService(tpl))
}
