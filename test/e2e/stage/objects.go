package stage

import (
	"encoding/json"
	"fmt"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// Replace reads an object, edits it and writes it as a whole, as clients do that
// know no patches.
func (a *App) Replace(kind, name string, edit func(map[string]any)) {
	a.t.Helper()
	eventually(a.t, "replace "+kind+" "+name, func() error {
		o := a.object(kind, name)
		if err := a.stage.Client.Get(a.ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		edit(o.Object)
		return a.stage.Client.Update(a.ctx, o)
	})
}

// UndoPatch is the JSON patch by which Argo's CLI goes back to the template of a
// ReplicaSet.
func UndoPatch(rs *appsv1.ReplicaSet) string {
	template := rs.Spec.Template.DeepCopy()
	delete(template.Labels, v1alpha1.LabelPodTemplateHash)
	raw, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/template", "value": template}})
	if err != nil {
		panic(fmt.Sprintf("a pod template that was read from the API server: %v", err))
	}
	return string(raw)
}

// Scale does what `kubectl scale` does.
func (a *App) Scale(replicas int) {
	a.t.Helper()
	patch := fmt.Sprintf(`{"spec": {"replicas": %d}}`, replicas)
	require.NoError(a.t, a.stage.Client.SubResource("scale").Patch(a.ctx, a.typed(),
		client.RawPatch(types.MergePatchType, []byte(patch)), client.WithSubResourceBody(&autoscalingv1.Scale{})))
}

// ReadScale is the scale subresource of the Rollout.
func (a *App) ReadScale() *autoscalingv1.Scale {
	a.t.Helper()
	scale := &autoscalingv1.Scale{}
	require.NoError(a.t, a.stage.Client.SubResource("scale").Get(a.ctx, a.typed(), scale))
	return scale
}

// typed names the Rollout for calls that cannot mix typed and untyped objects.
func (a *App) typed() *v1alpha1.Rollout {
	return &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: AppName}}
}
