package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-rollouts/sluice/core/preview"
)

// The metrics of controllers that tell about plugins, and the state of a plugin
// that nobody needs, or that another replica runs.
const (
	pluginState = "sluice_plugin_state"
	pluginInfo  = "sluice_plugin_info"
	stopped     = "Stopped"
)

// patience with one controller: a pod that cannot be reached must not hold the others
// up.
const patience = 10 * time.Second

// controllerLabels are on the pods of every install.
var controllerLabels = client.MatchingLabels{"app.kubernetes.io/name": "sluice", "app.kubernetes.io/component": "controller"}

// askControllers adds states and versions, from the metrics of the controllers in
// the namespace ("" is all). An error says which could not be asked; what the others
// said is there all the same.
func (c *cluster) askControllers(ctx context.Context, namespace string, all []listedPlugin) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace), controllerLabels); err != nil {
		return err
	}
	config := rest.CopyConfig(c.config)
	config.APIPath, config.GroupVersion, config.NegotiatedSerializer = "/api", &corev1.SchemeGroupVersion, clientgoscheme.Codecs.WithoutConversion()
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	var failed []error
	asked := 0
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		raw, err := api.Get().Namespace(pod.Namespace).Resource("pods").SubResource("proxy").
			Name(fmt.Sprintf("%s:%d", pod.Name, metricsPort(pod))).Suffix("metrics").Timeout(patience).DoRaw(ctx)
		if err == nil {
			err = told(raw, pod.Namespace, all)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("asking pod %s/%s: %w", pod.Namespace, pod.Name, err))
			continue
		}
		asked++
	}
	if asked == 0 && len(failed) == 0 {
		return errors.New("no pod of a controller is running")
	}
	return errors.Join(failed...)
}

func metricsPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				return p.ContainerPort
			}
		}
	}
	return 8090
}

// told takes in the metrics of one controller. Of replicas only one runs plugins, so
// that what is stopped in one may run in another.
func told(metrics []byte, namespace string, all []listedPlugin) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics))
	if err != nil {
		return err
	}
	for i := range all {
		l := &all[i]
		if l.Namespace != "" && l.Namespace != namespace {
			continue
		}
		name := cmp.Or(preview.Aliases[l.Name], l.Name)
		if state := labelOf(families[pluginState], name, "state"); state != "" && (l.State == "" || l.State == stopped) {
			l.State = state
		}
		l.Version = cmp.Or(labelOf(families[pluginInfo], name, "version"), l.Version)
	}
	return nil
}

// labelOf is a label of the plugin's series that is 1; "" when there is none.
func labelOf(family *dto.MetricFamily, plugin, label string) string {
	for _, m := range family.GetMetric() {
		of, value := "", ""
		for _, l := range m.GetLabel() {
			switch l.GetName() {
			case "plugin":
				of = l.GetValue()
			case label:
				value = l.GetValue()
			}
		}
		if of == plugin && m.GetGauge().GetValue() == 1 {
			return value
		}
	}
	return ""
}
