package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// patience is how long something may take that takes seconds on an idle machine.
const patience = 3 * time.Minute

// world is a cluster whose pods answer, with the controller in it.
type world struct {
	t       testing.TB
	cluster *devcluster.Cluster
	client  dynamic.Interface
	root    string
}

// open starts a cluster with the backend for all pods.
func open(t testing.TB) *world {
	t.Helper()
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs data planes that take minutes to build: make e2e runs this")
	}
	w := &world{t: t}
	var err error
	w.root, err = foreign.Root()
	require.NoError(t, err)
	w.cluster, err = devcluster.StartNet(t.Context(), devcluster.Options{Nodes: 2})
	if errors.Is(err, devcluster.ErrNoNamespace) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.cluster.Stop()) })
	w.client, err = dynamic.NewForConfig(w.cluster.Config())
	require.NoError(t, err)
	w.start("./test/backend", "--kubeconfig="+w.cluster.KubeconfigPath(), "--grpc-listen=0.0.0.0:9090", "--tls-listen=0.0.0.0:8443")

	return w
}

// control starts the controller with the bundled routers, under its own rights.
func (w *world) control(plugins ...string) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.ApplyPermissions(w.t.Context()))
	dir := w.t.TempDir()
	for _, p := range plugins {
		w.build("./plugins/"+p, filepath.Join(dir, p))
	}
	kubeconfig, err := w.cluster.KubeconfigFor("system:serviceaccount:sluice:sluice-controller")
	require.NoError(w.t, err)
	w.start("./cmd/controller", "--kubeconfig="+kubeconfig, "--namespace=sluice", "--plugin-dir="+dir,
		"--metricsPort=8190", "--healthzPort=8191", "--leader-elect=false")
}

func (w *world) build(pkg, out string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "go", "build", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir, cmd.Env = w.root, append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "building %s: %s", pkg, said)
}

// start starts one of our programs in the cluster's network until the test ends.
func (w *world) start(pkg string, args ...string) {
	w.t.Helper()
	binary := filepath.Join(w.t.TempDir(), filepath.Base(pkg))
	w.build(pkg, binary)
	log, err := os.Create(filepath.Join(w.t.TempDir(), "log"))
	require.NoError(w.t, err)
	cmd := w.cluster.Command(context.WithoutCancel(w.t.Context()), binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		if w.t.Failed() {
			said, _ := os.ReadFile(log.Name())
			lines := strings.Split(strings.TrimSpace(string(said)), "\n")
			w.t.Logf("end of the log of %s:\n%s", pkg, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
}

func (w *world) apply(manifests ...string) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.Apply(w.t.Context(), manifests...))
}

var rollouts = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}

func (w *world) rollout(namespace string) map[string]any {
	w.t.Helper()
	o, err := w.client.Resource(rollouts).Namespace(namespace).Get(w.t.Context(), "app", v1.GetOptions{})
	require.NoError(w.t, err)

	return o.Object
}

// patch is a merge patch of the Rollout, or of its status as Argo's CLI does it.
func (w *world) patch(namespace, patch string, subresources ...string) {
	w.t.Helper()
	_, err := w.client.Resource(rollouts).Namespace(namespace).Patch(w.t.Context(), "app", types.MergePatchType, []byte(patch), v1.PatchOptions{}, subresources...)
	require.NoError(w.t, err)
}

func (w *world) update(namespace, version string) {
	w.t.Helper()
	w.patch(namespace, `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.com/app:`+version+`","ports":[{"containerPort":8080}]}]}}}}`)
}

func (w *world) resume(namespace string) {
	w.t.Helper()
	w.patch(namespace, `{"status":{"pauseConditions":null}}`, "status")
}

// await waits until the Rollout is as it should be.
func (w *world) await(namespace, what string, reached func(ro map[string]any) bool) map[string]any {
	w.t.Helper()
	var ro map[string]any
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ro = w.rollout(namespace); reached(ro) {
			return ro
		}
	}
	status, _, _ := unstructured.NestedMap(ro, "status")
	w.t.Fatalf("not reached within %s: %s\n%v", patience, what, status)

	return nil
}

// paused says that a pause step is in force at an index, and that the data plane
// serves the weight.
func paused(step, weight int64) func(map[string]any) bool {
	return func(ro map[string]any) bool {
		index, _, _ := unstructured.NestedInt64(ro, "status", "currentStepIndex")
		got, _, _ := unstructured.NestedInt64(ro, "status", "canary", "weights", "canary", "weight")
		verified, _, _ := unstructured.NestedBool(ro, "status", "canary", "weights", "verified")
		pauses, _, _ := unstructured.NestedSlice(ro, "status", "pauseConditions")

		return observed(ro) && index == step && got == weight && verified && len(pauses) > 0
	}
}

// healthy says that the current revision is the stable one and everything has its pods.
func healthy(ro map[string]any) bool {
	phase, _, _ := unstructured.NestedString(ro, "status", "phase")
	stable, _, _ := unstructured.NestedString(ro, "status", "stableRS")
	current, _, _ := unstructured.NestedString(ro, "status", "currentPodHash")

	return observed(ro) && phase == "Healthy" && stable == current && stable != ""
}

// alone says that the pods of other revisions are gone as well.
func alone(ro map[string]any) bool {
	replicas, _, _ := unstructured.NestedInt64(ro, "status", "replicas")
	want, _, _ := unstructured.NestedInt64(ro, "spec", "replicas")

	return healthy(ro) && replicas == want
}

func observed(ro map[string]any) bool {
	generation, _, _ := unstructured.NestedInt64(ro, "metadata", "generation")
	seen, _, _ := unstructured.NestedString(ro, "status", "observedGeneration")

	return seen == fmt.Sprint(generation)
}

// aborted says that nothing of the update is left in traffic.
func aborted(ro map[string]any) bool {
	gone, _, _ := unstructured.NestedBool(ro, "status", "abort")
	weight, _, _ := unstructured.NestedInt64(ro, "status", "canary", "weights", "canary", "weight")
	verified, _, _ := unstructured.NestedBool(ro, "status", "canary", "weights", "verified")
	replicas, _, _ := unstructured.NestedInt64(ro, "status", "replicas")
	want, _, _ := unstructured.NestedInt64(ro, "spec", "replicas")

	return gone && weight == 0 && verified && replicas == want
}

// applyIn applies a file as `kubectl apply -n` does: an object that is no YAML is
// named, and those before it are applied.
func (w *world) applyIn(namespace, file string) {
	w.t.Helper()
	raw, err := os.Open(file)
	require.NoError(w.t, err)
	defer raw.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(raw, 4096)
	var objects []*unstructured.Unstructured
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && len(objects) > 0 {
			w.t.Logf("%s: object %d is left out: %v", file, len(objects)+1, err)

			break
		}
		require.NoError(w.t, err)
		if len(o.Object) > 0 {
			o.SetNamespace(namespace)
			objects = append(objects, o)
		}
	}
	require.NoError(w.t, w.cluster.ApplyObjects(w.t.Context(), objects...))
}
