package e2e

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// updating is v1 at rest with the steps, and v2 asked for after a preparation.
func updating(prepare func(*stage.App), steps ...string) func(*stage.App) {
	return func(app *stage.App) {
		app.Deploy(steps...)
		if prepare != nil {
			prepare(app)
		}
		app.Update("v2")
	}
}

// measuredBy replaces the metric of the template that Analysis names.
func measuredBy(metric string, steps ...string) func(*stage.App) {
	return func(app *stage.App) {
		app.Apply("{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {name: errors}, spec: {args: [{name: token, valueFrom: {secretKeyRef: {name: nowhere, key: token}}}], metrics: [" + metric + "]}}")
		updating(nil, append([]string{stage.SetWeight(20), stage.Analysis}, steps...)...)(app)
	}
}

const (
	podsNeverReady = `{"spec": {"template": {"metadata": {"annotations": {"devcluster.sluice.dev/never-ready": "true"}}}}}`
	aJob           = `provider: {job: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/c", command: [sleep, %s]}]}}}}}}`
	aQuery         = `consecutiveErrorLimit: 1000, interval: 1s, count: 3, successCondition: "true", provider: {prometheus: {address: "http://prometheus.nowhere.example:1", query: %s}}}`
)

// world makes a check of what watches have shown.
func world(check func(stage.World) bool) func(*stage.App) bool {
	return func(app *stage.App) bool { return check(app.Now()) }
}

func blocked(reason string) func(*stage.App) bool {
	return world(func(w stage.World) bool { return w.Blocked(reason) })
}

// measuring: the step's run has measured, or tries to, and that is stored.
func measuring(check func(v1alpha1.AnalysisRunStatus) bool) func(*stage.App) bool {
	return world(func(w stage.World) bool {
		for _, run := range w.Runs {
			if run.Status.Phase != "" && check(run.Status) {
				return w.Step() == 1
			}
		}
		return false
	})
}

func anyMeasurement(check func(v1alpha1.Measurement) bool) func(*stage.App) bool {
	return measuring(func(st v1alpha1.AnalysisRunStatus) bool {
		return slices.ContainsFunc(st.MetricResults, func(m v1alpha1.MetricResult) bool { return slices.ContainsFunc(m.Measurements, check) })
	})
}

// onePod: there is one pod of v2, with the condition.
func onePod(condition corev1.PodConditionType, status corev1.ConditionStatus) func(*stage.App) bool {
	return func(app *stage.App) bool {
		for _, pod := range app.Pods("v2") {
			conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
			for _, c := range conditions {
				if m := c.(map[string]any); m["type"] == string(condition) && m["status"] == string(status) {
					return app.Now().Wanted("v2") == 1
				}
			}
		}
		return false
	}
}

// unverified: routers have the canary's weight, and nobody says that it is in force.
func unverified(w stage.World, weight int32) bool {
	weights, rs := w.Status().Canary.Weights, w.Set("v2")
	return rs != nil && rs.Status.AvailableReplicas == 1 && weights != nil && weights.Canary.Weight == weight && !verified(w)
}

// podStalls are waits for pods.
func podStalls() []stall {
	notReady := onePod(corev1.PodReady, corev1.ConditionFalse)
	return []stall{
		{"pods never ready", updating(func(a *stage.App) { a.PatchRollout(podsNeverReady) }, stage.SetWeight(20)), notReady, "pods", []string{"WaitingForPods", "pod app-", "ContainersNotReady"}},
		{"image cannot be pulled", func(app *stage.App) {
			updating(func(a *stage.App) { a.PatchRollout(podsNeverReady) }, stage.SetWeight(20))(app)
			app.Eventually("the pod has a kubelet", func() bool { return notReady(app) })
			failPull(app)
		}, notReady, "pods", []string{"ImagePullBackOff", `Back-off pulling image "example.com/app:v2"`}},
		{"no node for the pods", updating(func(a *stage.App) {
			a.PatchRollout(`{"spec": {"template": {"spec": {"nodeSelector": {"disk": "none"}}}}}`)
		}, stage.SetWeight(20)), onePod(corev1.PodScheduled, corev1.ConditionFalse), "pods", []string{"Unschedulable"}},
		{"quota used up", updating(func(a *stage.App) {
			a.Apply(`{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: "4"}}}`)
			countQuota(a)
		}, stage.SetWeight(20)), world(func(w stage.World) bool { return w.Set("v2") != nil && len(w.Set("v2").Status.Conditions) > 0 }), "pods", []string{"exceeded quota: small"}},
		{"deadline missed", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			// One change: a revision between the two would make progress when it goes.
			app.PatchRollout(`{"spec": {"progressDeadlineSeconds": 1, "template": {"metadata": {"annotations": {"devcluster.sluice.dev/never-ready": "true"}}}}}`)
		}, world(func(w stage.World) bool {
			// Progress that is counted late begins the second anew.
			return w.Status().UpdatedReplicas == 1 && w.Reason(v1alpha1.ConditionProgressing) == v1alpha1.ReasonProgressDeadlineExceeded
		}), "pods", []string{"ProgressDeadlineExceeded", "progressDeadlineSeconds (1)"}},
		{"budget forbids the restart", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			app.Apply(`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: all}, spec: {minAvailable: 4, selector: {matchLabels: {app: app}}}}`)
			// Pods of the same second are not older.
			app.PatchRollout(`{"spec": {"restartAt": "` + time.Now().Add(2*time.Second).UTC().Format(time.RFC3339) + `"}}`)
		}, blocked("WaitingForDisruptionBudget"), "pods", []string{"PodDisruptionBudget all"}},
		{"restart at a later time", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			app.PatchRollout(`{"spec": {"restartAt": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}}`)
		}, world(func(w stage.World) bool { return w.Observed() && w.Rollout.Spec.RestartAt != nil }), "pods", []string{"spec.restartAt", "the clock"}},
		{"old pods drain", func(app *stage.App) {
			app.Apply(stage.EditYAML(stage.RolloutYAML(stage.SetWeight(20)), func(spec map[string]any) {
				spec["strategy"].(map[string]any)["canary"].(map[string]any)["scaleDownDelaySeconds"] = 3600
			}))
			app.Await("v1 is healthy", func(w stage.World) bool { return w.Healthy("v1") })
			app.Update("v2")
		}, world(func(w stage.World) bool {
			return w.Healthy("v2") && verified(w) && w.Set("v1").Annotations[v1alpha1.AnnotationScaleDownDeadline] != ""
		}), "clean-up", []string{"keeps its 4 pods until"}},
	}
}

// updateStalls are met on the way, by people, analyses and traffic.
func updateStalls() []stall {
	paused := world(func(w stage.World) bool { return w.Paused(1, 20) })
	inconclusive := v1alpha1.PauseReasonInconclusiveAnalysis
	return []stall{
		{"pause without end", updating(nil, stage.SetWeight(20), stage.Pause), paused, "step", []string{"pauses until it is resumed", "promote"}},
		{"pause with an end", updating(nil, stage.SetWeight(20), "{pause: {duration: 1h}}"), paused, "step", []string{"pauses", "the clock"}},
		{"stopped by a person", updating(func(a *stage.App) { a.PatchRollout(`{"spec": {"paused": true}}`) }, stage.SetWeight(20)),
			world(func(w stage.World) bool { return w.Observed() && w.Status().Message == "manually paused" }), "stopped", []string{"spec.paused is set"}},
		{"aborted by a person", func(app *stage.App) {
			updating(nil, stage.SetWeight(20), stage.Pause)(app)
			app.Await("paused", func(w stage.World) bool { return w.Paused(1, 20) })
			app.PatchStatus(`{"status": {"abort": true}}`)
		}, world(func(w stage.World) bool { return w.Status().AbortedAt != nil }), "stopped", []string{"the update is aborted", "retry rollout"}},
		{"analysis running", measuredBy(`{name: m, count: 1000, interval: 1h, successCondition: "true", ` + strings.Replace(aJob, "%s", `"0"`, 1)),
			measuring(func(st v1alpha1.AnalysisRunStatus) bool { return len(st.MetricResults) == 1 }), "step", []string{"AnalysisRun app-", "metric m"}},
		{"Job stuck", measuredBy(`{name: m, ` + strings.Replace(aJob, "%s", `"9000"`, 1)),
			anyMeasurement(func(m v1alpha1.Measurement) bool { return m.Metadata["job-name"] != "" }), "step", []string{"metric m: Running", "job-name"}},
		{"provider without an answer", measuredBy(`{name: m, ` + strings.Replace(aQuery, "%s", "up", 1)),
			anyMeasurement(func(m v1alpha1.Measurement) bool { return m.Message != "" }), "step", []string{"metric m", "prometheus.nowhere.example"}},
		{"Secret missing", measuredBy(`{name: m, ` + strings.Replace(aQuery, "%s", `"{{args.token}}"`, 1)),
			world(func(w stage.World) bool {
				for _, run := range w.Runs {
					return run.Status.Message != "" || len(run.Status.MetricResults) > 0
				}
				return false
			}), "", []string{"nowhere"}},
		{"analysis failed", func(app *stage.App) {
			app.Metric(1)
			updating(nil, stage.SetWeight(20), stage.Analysis)(app)
		}, world(func(w stage.World) bool { return w.Status().AbortedAt != nil }), "stopped", []string{"the update is aborted", "metric error-ratio: Failed"}},
		{"analysis inconclusive", func(app *stage.App) {
			app.PatchJSON("AnalysisTemplate", stage.TemplateName, `[{"op": "add", "path": "/spec/metrics/0/failureCondition", "value": "result[0] > 0.5"}]`)
			app.Metric(0.2)
			updating(nil, stage.SetWeight(20), stage.Analysis)(app)
		}, world(func(w stage.World) bool {
			return slices.ContainsFunc(w.Status().PauseConditions, func(c v1alpha1.PauseCondition) bool { return c.Reason == inconclusive })
		}), "stopped", []string{"could not tell", "AnalysisRun app-"}},
		{"experiment without end", updating(nil, stage.SetWeight(20), `{experiment: {duration: 1h, templates: [{name: baseline, specRef: stable}]}}`),
			world(func(w stage.World) bool { return w.Step() == 1 && len(w.Experiments) == 1 }), "step", []string{"Experiment app-"}},
		{"gateway refuses the route", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			on.Gateway.Refuse(app.Namespace, "the listener has no such host")
			app.Update("v2")
		}, world(func(w stage.World) bool { return unverified(w, 0) && refusal(w) }), "traffic", []string{"WaitingForTraffic", "the listener has no such host"}},
		{"gateway says nothing", func(app *stage.App) {
			app.Deploy(stage.SetWeight(20))
			app.Await("the gateway has seen the route", func(w stage.World) bool { return len(w.Route.Status.Parents) > 0 })
			on.Gateway.Pause(app.Namespace)
			app.Update("v2")
		}, world(func(w stage.World) bool { return unverified(w, 20) }), "traffic", []string{"WaitingForTraffic", "canary has weight 20", "older generation"}},
		{"route held by another Rollout", func(app *stage.App) {
			app.Apply(neverReady(stage.RolloutYAML()))
			app.Await("the older one holds the route", func(w stage.World) bool {
				return len(w.Status().Canary.Routers) == 1 && len(w.Status().Canary.Routers[0].Holds) == 2
			})
			app.Apply(strings.NewReplacer("{name: app}\nspec", "{name: second}\nspec", "app: app}", "app: app, tier: second}").Replace(stage.RolloutYAML()))
		}, nil, "plugins", []string{"RouteConflict", "app"}},
	}
}

// refusal: the route's newest generation is not accepted.
func refusal(w stage.World) bool {
	for _, p := range w.Route.Status.Parents {
		for _, c := range p.Conditions {
			if c.Status != metav1.ConditionTrue && c.ObservedGeneration == w.Route.Generation {
				return true
			}
		}
	}
	return false
}

// failPull says what a kubelet says of an image that is not there.
func failPull(app *stage.App) {
	for _, pod := range app.Pods("v2") {
		app.PatchSubresource("Pod", pod.GetName(), "status", `{"status": {"phase": "Pending", "containerStatuses": [{"name": "app", "image": "example.com/app:v2", "imageID": "",
			"ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"example.com/app:v2\""}}}]}}`)
	}
}

// countQuota does the work of the quota controller, which this cluster does not
// run.
func countQuota(a *stage.App) {
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "small"}}
	err := on.Client.Status().Patch(a.Context(), quota, client.RawPatch(types.MergePatchType, []byte(`{"status": {"hard": {"pods": "4"}, "used": {"pods": "4"}}}`)))
	a.Require(err == nil, "the quota counts: %v", err)
}
