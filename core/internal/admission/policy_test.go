package admission_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const policyFile = "../../../deploy/policies/rollouts.yaml"

// TestPolicyAgreesWithTheController compares the shipped ValidatingAdmissionPolicy,
// run by a real API server, with the controller: both find a Rollout of the table
// valid, or both find the same fault in it. Each rule of the policy has a row.
func TestPolicyAgreesWithTheController(t *testing.T) {
	t.Parallel()
	cluster, err := devcluster.Start(t.Context(), devcluster.Options{APIServerOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })
	require.NoError(t, cluster.ApplyFiles(t.Context(), "../../../deploy/crds", policyFile))
	heard := &warnings{}
	config := cluster.Config()
	config.WarningHandler = heard
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	rollouts := client.Resource(v1alpha1.GroupVersion.WithResource("rollouts")).Namespace("default")
	apply := func(t *testing.T, manifest []byte) []string {
		o := &unstructured.Unstructured{}
		require.NoError(t, json.Unmarshal(manifest, &o.Object))
		heard.take()
		_, err := rollouts.Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err, "a policy that warns stores everything")
		return heard.take()
	}
	// A policy is in force a moment after it was written.
	broken := patched(t, routedYAML, "spec: {minReadySeconds: -1}")
	require.Eventually(t, func() bool { return len(apply(t, broken)) > 0 }, time.Minute, 50*time.Millisecond)

	met := map[string]bool{}
	for _, row := range admissionRows {
		t.Run(row.name, func(t *testing.T) {
			manifest := patched(t, row.base, row.patch)
			told := apply(t, manifest)
			verdict := verdictOn(t, manifest)
			if row.path == "" {
				assert.Empty(t, told, "the policy")
				assert.Empty(t, verdict, "the controller")
				return
			}
			assert.Contains(t, verdict, "is invalid: "+row.path, "the controller")
			require.Len(t, told, 1, "the policy")
			_, message, _ := strings.Cut(told[0], "with binding 'sluice-rollouts': ")
			met[message] = true
			path, _, _ := strings.Cut(message, ": ")
			assert.True(t, strings.HasPrefix(row.path, path), "the policy speaks of %s: %s", path, message)
		})
	}
	for _, message := range messagesOf(t) {
		assert.True(t, met[message], "no row meets the rule %q", message)
	}
}

// warnings are what the API server tells a client beside its answer.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// patched is the manifest as JSON, changed by a merge patch.
func patched(t *testing.T, manifest, patch string) []byte {
	t.Helper()
	doc, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(t, err)
	change, err := yaml.YAMLToJSON([]byte(patch))
	require.NoError(t, err)
	out, err := jsonpatch.MergePatch(doc, change)
	require.NoError(t, err)
	return out
}

// verdictOn is what the controller says about a Rollout whose Services and routes
// are all there, with plugins that can do everything.
func verdictOn(t *testing.T, manifest []byte) string {
	t.Helper()
	ro := &v1alpha1.Rollout{}
	require.NoError(t, json.Unmarshal(manifest, ro))
	s := &rollout.Snapshot{Now: time.Now(), Rollout: ro, Services: map[string]*corev1.Service{}}
	if ro.Spec.WorkloadRef != nil {
		s.Refer(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}},
		}})
	}
	for _, name := range rollout.ServiceNames(ro) {
		s.Services[name] = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for _, b := range rollout.Blocks(ro) {
		s.Routers = append(s.Routers, rollout.Router{Plugin: b.Plugin, Path: b.Path, Config: b.Config, Capabilities: rollout.Capabilities{
			Observe: true, HeaderRoutes: true, MirrorRoutes: true, Experiments: true, MaxWeight: true,
		}})
	}
	return decide.Decide(s).Invalid
}

func messagesOf(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(policyFile)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(raw), "\n---\n")
	var policy admissionv1.ValidatingAdmissionPolicy
	require.NoError(t, yaml.UnmarshalStrict([]byte(first), &policy))
	var out []string
	for _, v := range policy.Spec.Validations {
		out = append(out, v.Message)
	}
	require.NotEmpty(t, out)
	return out
}

// steps is a patch of the routed canary.
func steps(list ...string) string {
	return fmt.Sprintf("spec: {strategy: {canary: {steps: [%s]}}}", strings.Join(list, ", "))
}
