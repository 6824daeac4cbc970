package stage

import (
	"fmt"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// EditYAML is a manifest with an edited spec.
func EditYAML(manifest string, edit func(spec map[string]any)) string {
	var o map[string]any
	if err := yaml.Unmarshal([]byte(manifest), &o); err != nil {
		panic(fmt.Sprintf("a manifest of ours: %v", err))
	}
	edit(o["spec"].(map[string]any))
	out, err := yaml.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("a manifest of ours: %v", err))
	}
	return string(out)
}

// Eventually waits until the check, which may read objects that no watch shows,
// holds.
func (a *App) Eventually(what string, check func() bool) {
	a.t.Helper()
	eventually(a.t, what, func() error {
		if !check() {
			return fmt.Errorf("not reached: %s\n%s", what, a.Dump())
		}
		return nil
	})
}

// Number is a field of an object as it is stored; -1 when it is not there.
func (a *App) Number(kind, name string, path ...string) int64 {
	a.t.Helper()
	n, found, err := unstructured.NestedInt64(a.Read(kind, name), path...)
	require.NoError(a.t, err)
	if !found {
		return -1
	}
	return n
}

// Pods are those of a version that nobody has deleted.
func (a *App) Pods(version string) []unstructured.Unstructured {
	a.t.Helper()
	hash := a.Now().Hash(version)
	list, err := a.stage.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(a.Namespace).
		List(a.ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelPodTemplateHash + "=" + hash})
	require.NoError(a.t, err)
	var out []unstructured.Unstructured
	for _, pod := range list.Items {
		if pod.GetDeletionTimestamp() == nil {
			out = append(out, pod)
		}
	}
	return out
}
