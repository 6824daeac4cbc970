package stage

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ListPlugins writes the list of traffic routers into the controller's
// ConfigMap; "" lists none.
func (c *Controller) ListPlugins(t testing.TB, list string) {
	t.Helper()
	require.NoError(t, c.configure(t.Context(), map[string]any{"trafficRouterPlugins": list}))
}

// ListEverything writes all lists of plugins, by their keys, into the
// controller's ConfigMap.
func (c *Controller) ListEverything(t testing.TB, data map[string]any) {
	t.Helper()
	require.NoError(t, c.configure(t.Context(), data))
}

// configure writes the controller's ConfigMap. The stand-in for Prometheus is on
// loopback, where only an administrator may send a plugin.
func (c *Controller) configure(ctx context.Context, data map[string]any) error {
	data["egress.allow"] = strings.TrimPrefix(c.stage.Metrics.URL(), "http://")
	return c.stage.Cluster.ApplyObjects(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "argo-rollouts-config", "namespace": c.Namespace},
		"data":     data,
	}})
}

// Configure writes the ConfigMap of a controller whose own namespace is that of
// the App, which may then ask the stand-in for Prometheus.
func (a *App) Configure(data map[string]any) {
	a.t.Helper()
	own := &Controller{Namespace: a.Namespace, stage: a.stage}
	require.NoError(a.t, own.configure(a.ctx, data))
}

// AwaitEvent waits for an event in the controller's namespace whose message
// holds the text.
func (c *Controller) AwaitEvent(t testing.TB, text string) {
	t.Helper()
	eventually(t, "an event of the controller with "+text, func() error {
		var list corev1.EventList
		if err := c.stage.Client.List(t.Context(), &list, client.InNamespace(c.Namespace)); err != nil {
			return err
		}
		var all []string
		for _, e := range list.Items {
			if strings.Contains(e.Message, text) {
				return nil
			}
			all = append(all, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("there are only:\n%s\n%s", strings.Join(all, "\n"), c.LogTail(20))
	})
}

// AwaitPlugin waits until the processes of a bundled plugin are as they should
// be.
func (c *Controller) AwaitPlugin(t testing.TB, plugin string, reached func(pids []int) bool) {
	t.Helper()
	eventually(t, "processes of plugin "+plugin, func() error {
		if pids := c.PluginPIDs(plugin); !reached(pids) {
			return fmt.Errorf("they are %v\n%s", pids, c.LogTail(20))
		}
		return nil
	})
}
