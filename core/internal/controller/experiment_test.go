package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const errorsTemplate = `
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  args: [{name: hash}]
  metrics:
    - {name: ratio, failureCondition: result > 5, provider: {prometheus: {query: "errors{hash='{{args.hash}}'}"}}}
`

// compare is an experiment with two templates and one analysis of the second.
func compare(spec string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {name: compare}
spec:
  ` + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + `
  templates:
    - name: baseline
      selector: {matchLabels: {app: shop}}
      template: &pods
        metadata: {labels: {app: shop}}
        spec: {containers: [{name: shop, image: shop:v1, ports: [{containerPort: 8080}]}]}
    - name: canary
      replicas: 2
      selector: {matchLabels: {app: shop}}
      service: {}
      template: *pods
`
}

const analysed = `
analyses:
  - name: check
    templateName: errors
    args: [{name: hash, value: "{{templates.canary.podTemplateHash}}"}]
`

func TestAnExperimentFromBeginningToEnd(t *testing.T) {
	l := newLab(t, errorsTemplate, compare("duration: 60s"+analysed))
	assert.Equal(t, 60*time.Second, l.settle().RequeueAfter)
	assert.Equal(t, strings.TrimSpace(`
Running
template baseline Running 1/1 service=""
template canary Running 2/2 service="compare-canary"
analysis check compare-check Pending
rs compare-baseline wants 1
rs compare-canary wants 2
run compare-check terminate=false
service compare-canary`), l.picture())

	canary := l.experiment().Status.TemplateStatuses[1]
	assert.Equal(t, canary.PodTemplateHash, *l.runs()[0].Spec.Args[0].Value)
	assert.Equal(t, map[string]string{"app": "shop", v1alpha1.LabelPodTemplateHash: canary.PodTemplateHash}, l.services()[0].Spec.Selector)
	assert.EqualValues(t, 8080, l.services()[0].Spec.Ports[0].Port)

	l.verdict("compare-check", v1alpha1.AnalysisPhaseRunning, "")
	l.settle()
	l.now = l.now.Add(time.Minute)
	l.settle()
	assert.Contains(t, l.picture(), "Running waiting for the end of AnalysisRun compare-check\n", "nothing is successful while it is measured")
	assert.Contains(t, l.picture(), "run compare-check terminate=true")
	l.verdict("compare-check", v1alpha1.AnalysisPhaseInconclusive, "Run Terminated")
	assert.Equal(t, 30*time.Second, l.settle().RequeueAfter)
	assert.Equal(t, strings.TrimSpace(`
Successful
template baseline Successful 1/1 service=""
template canary Successful 2/2 service="compare-canary"
analysis check compare-check Inconclusive Run Terminated
rs compare-baseline wants 1 delayed
rs compare-canary wants 2 delayed
run compare-check terminate=true
service compare-canary`), l.picture())

	assert.Zero(t, l.after(30*time.Second))
	assert.Equal(t, strings.TrimSpace(`
Successful
template baseline Successful 0/0 service=""
template canary Successful 0/0 service=""
analysis check compare-check Inconclusive Run Terminated
rs compare-baseline wants 0
rs compare-canary wants 0
run compare-check terminate=true`), l.picture())
	assert.Equal(t, []string{
		"TemplateProgressing", "TemplateProgressing", "ExperimentPending",
	}, without(l.events[:5], "NewReplicaSetCreated"))
	assert.Equal(t, []string{
		"ScalingReplicaSet", "ScalingReplicaSet", "TemplateRunning", "TemplateRunning", "AnalysisRunPending", "ExperimentRunning",
		"AnalysisRunRunning", "AnalysisRunTerminating", "TemplateSuccessful", "TemplateSuccessful",
		"AnalysisRunInconclusive", "ExperimentSuccessful", "ScalingReplicaSet", "ScalingReplicaSet",
	}, l.events[5:])
	before := l.writes
	for range 3 {
		assert.Zero(t, l.pass())
	}
	assert.Equal(t, before, l.writes, "an experiment at rest costs nothing")
}

func without(list []string, what string) []string {
	var out []string
	for _, s := range list {
		if s != what {
			out = append(out, s)
		}
	}
	return out
}

func TestAFailedAnalysisEndsTheExperiment(t *testing.T) {
	for phase, want := range map[v1alpha1.AnalysisPhase]string{
		v1alpha1.AnalysisPhaseFailed:       `Failed Analysis "check" assessed Failed: 7.2 > 5`,
		v1alpha1.AnalysisPhaseError:        `Error Analysis "check" assessed Error: 7.2 > 5`,
		v1alpha1.AnalysisPhaseInconclusive: `Inconclusive Analysis "check" assessed Inconclusive: 7.2 > 5`,
	} {
		l := newLab(t, errorsTemplate, compare("scaleDownDelaySeconds: 0"+analysed))
		l.settle()
		l.verdict("compare-check", phase, "7.2 > 5")
		l.settle()
		assert.Contains(t, l.picture(), want)
		assert.Contains(t, l.picture(), "rs compare-canary wants 0")
		assert.Contains(t, l.picture(), "template canary Successful")
		assert.Empty(t, l.services())
	}
}

func TestPodsThatDoNotComeUpFailTheExperiment(t *testing.T) {
	l := newLab(t, errorsTemplate, compare("progressDeadlineSeconds: 90\nduration: 10s"+analysed))
	l.broken["canary"] = true
	assert.Equal(t, 90*time.Second, l.settle().RequeueAfter)
	assert.Contains(t, l.picture(), "Pending\n")
	assert.Contains(t, l.picture(), "template canary Progressing 0/2 service=\"compare-canary\" 0 of 2 pods are available")
	assert.Empty(t, l.runs(), "nothing is analysed before all templates run")
	l.after(89 * time.Second)
	assert.Contains(t, l.picture(), "Pending\n")
	l.after(time.Second)
	assert.Contains(t, l.picture(), "Failed Template 'canary' exceeded its progressDeadlineSeconds (90): 0 of 2 pods are available\n")
	assert.Contains(t, l.picture(), "template baseline Successful")
	assert.Empty(t, l.runs())
	c := l.experiment().Status.Conditions
	require.Len(t, c, 1)
	assert.Equal(t, v1alpha1.ReasonProgressDeadlineExceeded, c[0].Reason)
}

func TestLostPodsProgressAgainWithinAnotherDeadline(t *testing.T) {
	l := newLab(t, compare("progressDeadlineSeconds: 90"))
	l.settle()
	l.after(time.Hour)
	assert.Contains(t, l.picture(), "Running\n")
	l.broken["canary"] = true
	l.pods()
	assert.Equal(t, 90*time.Second, l.settle().RequeueAfter)
	assert.Contains(t, l.picture(), "template canary Progressing 0/2")
	l.broken["canary"] = false
	l.after(time.Minute)
	assert.Contains(t, l.picture(), "template canary Running 2/2")
}

func TestTerminate(t *testing.T) {
	for name, when := range map[string]func(*lab){
		"before anybody looked": func(*lab) {},
		"while pods come up":    func(l *lab) { l.broken["canary"] = true; l.settle() },
		"while it runs":         func(l *lab) { l.settle() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, errorsTemplate, compare("scaleDownDelaySeconds: 0"+analysed))
			when(l)
			l.edit(func(ex *v1alpha1.Experiment) { ex.Spec.Terminate = true })
			l.settle()
			for _, run := range l.runs() {
				assert.True(t, run.Spec.Terminate)
				l.verdict(run.Name, v1alpha1.AnalysisPhaseSuccessful, "Run Terminated")
			}
			assert.Zero(t, l.settle())
			assert.True(t, strings.HasPrefix(l.picture(), "Successful\n"), l.picture())
			assert.NotContains(t, l.picture(), "wants 1")
			assert.NotContains(t, l.picture(), "wants 2")
			assert.Empty(t, l.services())
		})
	}
}

func TestRequiredAnalysesDecideTheEnd(t *testing.T) {
	required := strings.Replace(analysed, "- name: check", "- name: check\n    requiredForCompletion: true", 1)
	t.Run("success ends it early", func(t *testing.T) {
		l := newLab(t, errorsTemplate, compare("duration: 1h"+required))
		l.settle()
		l.verdict("compare-check", v1alpha1.AnalysisPhaseSuccessful, "")
		l.settle()
		assert.True(t, strings.HasPrefix(l.picture(), "Successful\n"), l.picture())
	})
	t.Run("pods stay until it is measured", func(t *testing.T) {
		l := newLab(t, errorsTemplate, compare("duration: 10s"+required))
		l.settle()
		l.after(time.Minute)
		assert.Contains(t, l.picture(), "Running\n")
		assert.Contains(t, l.picture(), "rs compare-canary wants 2\n")
		assert.Contains(t, l.picture(), "run compare-check terminate=false")
		l.verdict("compare-check", v1alpha1.AnalysisPhaseSuccessful, "")
		l.settle()
		assert.True(t, strings.HasPrefix(l.picture(), "Successful\n"), l.picture())
		assert.Contains(t, l.picture(), "rs compare-canary wants 2 delayed")
	})
	t.Run("one that is not required does not end it", func(t *testing.T) {
		l := newLab(t, errorsTemplate, compare(analysed))
		l.settle()
		l.verdict("compare-check", v1alpha1.AnalysisPhaseSuccessful, "")
		l.after(time.Hour)
		assert.Contains(t, l.picture(), "Running\n")
	})
}

// TestRetry is what the CLI does: the status is removed.
func TestRetry(t *testing.T) {
	l := newLab(t, errorsTemplate, compare("duration: 10s"+analysed))
	l.settle()
	l.verdict("compare-check", v1alpha1.AnalysisPhaseFailed, "7.2 > 5")
	l.settle()
	assert.Contains(t, l.picture(), "rs compare-canary wants 2 delayed")
	l.edit(func(ex *v1alpha1.Experiment) { ex.Status = v1alpha1.ExperimentStatus{} })
	l.settle()
	assert.Equal(t, strings.TrimSpace(`
Running
template baseline Running 1/1 service=""
template canary Running 2/2 service="compare-canary"
analysis check compare-check.1 Pending
rs compare-baseline wants 1
rs compare-canary wants 2
run compare-check terminate=false
run compare-check.1 terminate=false
service compare-canary`), l.picture())
}

func TestNamesThatOthersHave(t *testing.T) {
	other := "apiVersion: %s\nkind: %s\nmetadata: {name: %s}\n"
	l := newLab(t, errorsTemplate, compare(analysed))
	for _, o := range [][]string{{"apps/v1", "ReplicaSet", "compare-canary"}, {"argoproj.io/v1alpha1", "AnalysisRun", "compare-check"}, {"v1", "Service", "compare-canary-1"}} {
		m := other
		for _, part := range o {
			m = strings.Replace(m, "%s", part, 1)
		}
		if o[1] == "ReplicaSet" {
			m += "spec: {replicas: 7}\n"
		}
		l.apply(m)
	}
	for range 5 {
		l.pass()
		l.pods()
	}
	assert.Contains(t, l.picture(), "template canary Progressing 2/2 service=\"\" Failed to create Service: Service shop/compare-canary-1 exists and does not belong to this experiment")
	for _, rs := range l.sets() {
		if rs.Name == "compare-canary" {
			assert.EqualValues(t, 7, *rs.Spec.Replicas, "what belongs to somebody else is left alone")
		}
	}
	for _, svc := range l.services() {
		require.NoError(t, l.store.Delete(context.Background(), &svc))
	}
	l.settle()
	assert.Contains(t, l.picture(), "template canary Running 2/2 service=\"compare-canary-1\"")
	assert.Contains(t, l.picture(), "analysis check compare-check.1 Pending")
}

func TestEveryReplicaSetHasAHashOfItsOwn(t *testing.T) {
	l := newLab(t, compare(""))
	l.settle()
	st := l.experiment().Status.TemplateStatuses
	assert.NotEqual(t, st[0].PodTemplateHash, st[1].PodTemplateHash, "equal templates, different pods")

	// Another object of the namespace has the hash first.
	l2 := newLab(t, compare(""), `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: shop-v1, labels: {rollouts-pod-template-hash: `+st[0].PodTemplateHash+`}}
spec: {replicas: 3}
`)
	l2.settle()
	for _, own := range l2.experiment().Status.TemplateStatuses {
		assert.NotEqual(t, st[0].PodTemplateHash, own.PodTemplateHash)
	}
	for _, rs := range l2.sets() {
		if rs.Name == "shop-v1" {
			continue
		}
		hash := rs.Labels[v1alpha1.LabelPodTemplateHash]
		assert.Equal(t, hash, rs.Spec.Selector.MatchLabels[v1alpha1.LabelPodTemplateHash])
		assert.Equal(t, hash, rs.Spec.Template.Labels[v1alpha1.LabelPodTemplateHash])
		assert.True(t, metav1.IsControlledBy(&rs, l2.experiment()))
		assert.Equal(t, "compare", rs.Annotations[v1alpha1.AnnotationExperimentName])
	}
}

func TestPodsWithTrafficStayUntilTheRolloutHasTakenItOff(t *testing.T) {
	l := newLab(t, compare("duration: 10s\nscaleDownDelaySeconds: 0"))
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: experimentKey.Namespace}}
	require.NoError(t, l.store.Create(context.Background(), ro))
	l.edit(func(ex *v1alpha1.Experiment) {
		ex.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}
	})
	l.settle()
	ro.Status.Canary.Weights = &v1alpha1.TrafficWeights{Additional: []v1alpha1.WeightDestination{
		{Weight: 10, ServiceName: "compare-canary", PodTemplateHash: l.experiment().Status.TemplateStatuses[1].PodTemplateHash},
	}}
	require.NoError(t, l.store.Update(context.Background(), ro))
	l.after(10 * time.Second)
	assert.Contains(t, l.picture(), "Successful\n")
	assert.Contains(t, l.picture(), "rs compare-baseline wants 0")
	assert.Contains(t, l.picture(), "rs compare-canary wants 2\n")
	assert.Contains(t, l.picture(), "service compare-canary")

	ro.Status.Canary.Weights = nil
	require.NoError(t, l.store.Update(context.Background(), ro))
	l.settle()
	assert.Contains(t, l.picture(), "rs compare-canary wants 0")
	assert.Empty(t, l.services())
}

func TestWhatHappensToAnalysesIsToldOnTheRollout(t *testing.T) {
	l := newLab(t, errorsTemplate, compare(analysed))
	ro := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: experimentKey.Namespace}}
	require.NoError(t, l.store.Create(context.Background(), ro))
	l.edit(func(ex *v1alpha1.Experiment) {
		ex.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(ro, v1alpha1.GroupVersion.WithKind("Rollout"))}
	})
	l.settle()
	l.verdict("compare-check", v1alpha1.AnalysisPhaseFailed, "7.2 > 5")
	l.settle()
	assert.Contains(t, l.events, "Rollout:"+corev1.EventTypeWarning+":AnalysisRunPending")
	assert.Contains(t, l.events, "Rollout:"+corev1.EventTypeWarning+":AnalysisRunFailed")
}

func TestATemplateThatDoesNotExistIsAnErrorBeforePodsAreWaitedFor(t *testing.T) {
	l := newLab(t, compare("scaleDownDelaySeconds: 0"+analysed))
	l.settle()
	assert.Contains(t, l.picture(), `Error Analysis "check" assessed Error: analysis "check": AnalysisTemplate "errors" not found`)
	assert.Empty(t, l.runs())
	assert.Empty(t, l.sets())
}

// TestATemplateThatIsNotInTheCacheYet is read from the API server: one file may
// create it together with the experiment.
func TestATemplateThatIsNotInTheCacheYet(t *testing.T) {
	l := newLab(t, compare(analysed))
	l.reconciler.Observer.Live = newLab(t, errorsTemplate).store
	l.settle()
	assert.Contains(t, l.picture(), "analysis check compare-check Pending")

	foreign := strings.Replace(errorsTemplate, "name: errors}", "name: errors, labels: {"+v1alpha1.LabelInstanceID+": other}}", 1)
	l = newLab(t, compare(analysed))
	l.reconciler.Observer.Live = newLab(t, foreign).store
	l.settle()
	assert.Contains(t, l.picture(), `Error Analysis "check" assessed Error: analysis "check": AnalysisTemplate "errors" not found`)
}

func TestADeletedReplicaSetIsMadeAgain(t *testing.T) {
	l := newLab(t, compare(""))
	l.settle()
	hash := l.experiment().Status.TemplateStatuses[1].PodTemplateHash
	require.NoError(t, l.store.Delete(context.Background(), &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "compare-canary"}}))
	l.settle()
	assert.Contains(t, l.picture(), "template canary Running 2/2")
	assert.Equal(t, hash, l.experiment().Status.TemplateStatuses[1].PodTemplateHash)
}
