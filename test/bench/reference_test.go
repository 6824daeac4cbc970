package bench

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// deed is what a user does in a story that both controllers play.
type deed struct {
	what, patch string
	// status says that the status is patched, as Argo's CLI does.
	status bool
}

func deploys(version string) deed {
	return deed{"deploys " + version, `{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:` + version + `"}]}}}}`, false}
}

var (
	aborts   = deed{"aborts", `{"status": {"abort": true}}`, true}
	retries  = deed{"retries", `{"status": {"abort": false}}`, true}
	resumes  = deed{"resumes", `{"status": {"pauseConditions": null}}`, true}
	promotes = deed{"promotes fully", `{"status": {"promoteFull": true}}`, true}
	asksMore = deed{"asks for pods that fit nowhere", `{"spec": {"template": {"spec": {"nodeSelector": {"no": "such"}}}}}`, false}
	takesIt  = deed{"takes that back", `{"spec": {"template": {"spec": {"nodeSelector": null}}}}`, false}
)

func scalesTo(n int) deed {
	return deed{fmt.Sprintf("scales to %d", n), fmt.Sprintf(`{"spec": {"replicas": %d}}`, n), false}
}

// common are the stories that Sluice and the reference have to end alike, rest by
// rest. Where they differ on purpose, docs/compatibility.md says so.
var common = []struct {
	name, spec string
	deeds      []deed
}{
	{"abort-and-retry", "{replicas: 1, strategy: {canary: {steps: [{setWeight: 50}, {pause: {duration: 6s}}]}}}", []deed{deploys("v2"), aborts, retries}},
	{"canary-by-hand", "{replicas: 4, strategy: {canary: {maxSurge: 1, maxUnavailable: 0, steps: [{setWeight: 25}, {pause: {}}, {setWeight: 75}, {pause: {}}]}}}",
		[]deed{deploys("v2"), resumes, scalesTo(6), deploys("v1")}},
	{"full-promotion", "{replicas: 2, strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}}", []deed{deploys("v2"), promotes, deploys("v3"), aborts, deploys("v2")}},
	{"blue-green", "{replicas: 3, strategy: {blueGreen: {activeService: active, previewService: preview}}}", []deed{deploys("v2"), deploys("v1")}},
	{"blue-green-by-hand", "{replicas: 2, strategy: {blueGreen: {activeService: active, previewService: preview, autoPromotionEnabled: false, scaleDownDelaySeconds: 1}}}",
		[]deed{deploys("v2"), resumes, deploys("v3"), aborts, retries, promotes}},
	{"deadline", "{replicas: 1, progressDeadlineSeconds: 6, strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}}", []deed{asksMore, takesIt}},
	{"deadline-aborts", "{replicas: 1, progressDeadlineSeconds: 6, progressDeadlineAbort: true, strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}}", []deed{asksMore, takesIt}},
	{"scale", "{replicas: 2, strategy: {canary: {}}}", []deed{deploys("v2"), scalesTo(0), scalesTo(3)}},
	{"another-strategy", "{replicas: 2, strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}}", []deed{
		{"changes to blue-green", `{"spec": {"strategy": {"canary": null, "blueGreen": {"activeService": "active"}}}}`, false}, deploys("v2"),
		{"changes to a canary", `{"spec": {"strategy": {"blueGreen": null, "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}}}`, false}, deploys("v3")}},
}

// BenchmarkLikeTheReference plays stories with the controller that
// SLUICE_BENCH_REFERENCE names and with ours, and compares what clients see at
// every rest: phase, position, counts, conditions, ReplicaSets, Services, and at
// the end the events. It counts the rests; without a reference there is nothing
// to compare with.
func BenchmarkLikeTheReference(b *testing.B) {
	reference := stage.Reference(os.Getenv("SLUICE_BENCH_REFERENCE"))
	if reference == "" {
		b.Skip("SLUICE_BENCH_REFERENCE names no controller to compare with; docs/cost.md says how to get one")
	}
	theirs, ours, rests := playCommon(b, reference), playCommon(b, ""), 0
	for i, s := range common {
		for k := range theirs[i] {
			have := ours[i][k]
			if k == len(s.deeds)+1 && len(theirs[i][k]) >= kept {
				have = have[:min(len(have), len(theirs[i][k]))]
			}
			assert.Equal(b, strings.Join(theirs[i][k], "\n"), strings.Join(have, "\n"), s.name)
			rests++
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(common)), "stories")
	b.ReportMetric(float64(rests), "compared")
}

// kept is how many events about one object the reference certainly writes within
// minutes; client-go's default drops what comes after 25, a count-up among them.
const kept = 15

func playCommon(b *testing.B, by stage.Reference) [][][]string {
	c := on.NewController(b, stage.ControllerOptions{Instance: "like", Reference: by})
	c.Start(b)
	defer c.Stop(b)
	seen := make([][][]string, len(common))
	var all errgroup.Group
	for i, s := range common {
		all.Go(func() (err error) {
			seen[i], err = playOne(b, c, fmt.Sprintf("%s-%s", c.Instance, s.name), s.spec, s.deeds)
			return err
		})
	}
	require.NoError(b, all.Wait())
	return seen
}

func playOne(b *testing.B, c *stage.Controller, namespace, spec string, deeds []deed) (seen [][]string, err error) {
	manifests := []string{fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace)}
	for _, name := range []string{"active", "preview"} {
		manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {app: x}, ports: [{port: 80}]}}`, name, namespace))
	}
	manifests = append(manifests, fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: x, namespace: %s, labels: {%s: %s}}, spec: %s}`,
		namespace, v1alpha1.LabelInstanceID, c.Instance, spec))
	var objects []*unstructured.Unstructured
	for _, m := range manifests {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(m), &u.Object); err != nil {
			return nil, err
		}
		objects = append(objects, u)
	}
	ro := objects[len(objects)-1].Object["spec"].(map[string]any)
	ro["selector"] = map[string]any{"matchLabels": map[string]any{"app": "x"}}
	ro["template"] = map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "x"}},
		"spec": map[string]any{"terminationGracePeriodSeconds": 0, "containers": []any{map[string]any{"name": "app", "image": "example.com/app:v1"}}}}
	if err := on.Cluster.ApplyObjects(b.Context(), objects...); err != nil {
		return nil, err
	}
	rest := func(what string) error {
		lines, err := atRest(b, namespace)
		seen = append(seen, append([]string{what}, lines...))
		return err
	}
	if err := rest("a user creates the Rollout"); err != nil {
		return nil, err
	}
	for _, d := range deeds {
		ro, patch := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x"}}, client.RawPatch(types.MergePatchType, []byte(d.patch))
		if d.status {
			err = on.Client.Status().Patch(b.Context(), ro, patch)
		} else {
			err = on.Client.Patch(b.Context(), ro, patch)
		}
		if err == nil {
			err = rest("a user " + d.what)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", namespace, d.what, err)
		}
	}
	events, err := told(b, namespace)
	return append(seen, events), err
}

// still is how long nothing has to change for a rest: longer than any delay of the
// stories, and than their deadlines.
const still = 9 * time.Second

// atRest waits until the Rollout does not change any more, and says what clients
// see then.
func atRest(b *testing.B, namespace string) (lines []string, err error) {
	var ro v1alpha1.Rollout
	for last, since, over := "", time.Now(), time.Now().Add(2*time.Minute); time.Since(since) < still; time.Sleep(200 * time.Millisecond) {
		if err := on.Client.Get(b.Context(), client.ObjectKey{Namespace: namespace, Name: "x"}, &ro); err != nil {
			return nil, err
		}
		if ro.ResourceVersion != last {
			last, since = ro.ResourceVersion, time.Now()
		}
		if time.Now().After(over) {
			return nil, fmt.Errorf("the Rollout in %s does not come to rest", namespace)
		}
	}
	st := ro.Status
	index := "none"
	if st.CurrentStepIndex != nil {
		index = fmt.Sprint(*st.CurrentStepIndex)
	}
	lines = append(lines,
		fmt.Sprintf("%s %q, abort %t, controllerPause %t, step %s", st.Phase, st.Message, st.Abort, st.ControllerPause, index),
		fmt.Sprintf("current %s, stable %s, active %s, preview %s, selector %s", st.CurrentPodHash, st.StableRS, st.BlueGreen.ActiveSelector, st.BlueGreen.PreviewSelector, st.Selector),
		fmt.Sprintf("replicas %d, updated %d, ready %d, available %d, HPA %d", st.Replicas, st.UpdatedReplicas, st.ReadyReplicas, st.AvailableReplicas, st.HPAReplicas))
	for _, p := range st.PauseConditions {
		lines = append(lines, "paused: "+string(p.Reason))
	}
	for _, c := range slices.SortedFunc(slices.Values(st.Conditions), func(a, b v1alpha1.RolloutCondition) int { return cmp.Compare(a.Type, b.Type) }) {
		if c.Type != v1alpha1.ConditionPaused || !st.Abort { // told apart in docs/compatibility.md
			lines = append(lines, fmt.Sprintf("condition %s %s, %s", c.Type, c.Status, c.Reason))
		}
	}
	var sets appsv1.ReplicaSetList
	var services corev1.ServiceList
	if err := on.Client.List(b.Context(), &sets, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	if err := on.Client.List(b.Context(), &services, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, rs := range sets.Items {
		if rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] != "" {
			rs.Annotations[v1alpha1.AnnotationScaleDownDeadline] = "set"
		}
		lines = append(lines, fmt.Sprintf("ReplicaSet %s, %d pods, labels %v, selects %v, annotations %v", rs.Name, *rs.Spec.Replicas, rs.Labels, rs.Spec.Selector.MatchLabels, rs.Annotations))
	}
	for _, s := range services.Items {
		lines = append(lines, fmt.Sprintf("Service %s selects %v, annotations %v", s.Name, s.Spec.Selector, s.Annotations))
	}
	return lines, nil
}

// told are the events about the Rollout, in order, but for those whose place or
// number differs on purpose.
func told(b *testing.B, namespace string) (lines []string, err error) {
	var all corev1.EventList
	if err := on.Client.List(b.Context(), &all, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(all.Items, func(a, b corev1.Event) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range all.Items {
		ours := e.Reason == v1alpha1.EventRolloutResumed || e.Reason == v1alpha1.EventSwitchService && strings.Contains(e.Message, "'preview'") ||
			strings.HasPrefix(e.Message, "ReplicaSet ")
		if e.InvolvedObject.Kind == "Rollout" && !ours {
			lines = append(lines, fmt.Sprintf("event %s %s: %s", e.Type, e.Reason, strings.ReplaceAll(e.Message, namespace, "x")))
		}
	}
	return lines, nil
}
