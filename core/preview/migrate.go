package preview

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/analysis/runspec"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Fleet is what a migration from Argo Rollouts is about: everything its
// controller serves, and how that controller is set up.
type Fleet struct {
	Rollouts         []*v1alpha1.Rollout
	Templates        []*v1alpha1.AnalysisTemplate
	ClusterTemplates []*v1alpha1.ClusterAnalysisTemplate
	// ConfigMaps of the controller's namespace.
	ConfigMaps []*corev1.ConfigMap
	// Controllers are the Deployments that run Argo Rollouts' controller.
	Controllers []*appsv1.Deployment
	// IstioPrimaries are the Secrets with kubeconfigs of remote Istio primaries,
	// as namespace/name.
	IstioPrimaries []string
	// Installed are the names of the plugins that Sluice will have, bundled and
	// listed; a plugin may answer to several.
	Installed []string
}

// Concern is one thing that would behave differently, or be ignored.
type Concern struct {
	// Object is "Rollout shop/web".
	Object string `json:"object"`
	Field  string `json:"field"`
	What   string `json:"what"`
	Cure   string `json:"cure"`
	// Holds says that the object will not move until it is cured.
	Holds bool `json:"holds"`
}

// Migrate lists what would be different under Sluice's controller, those first
// that hold a Rollout up. Nothing means that the controllers can change places.
func Migrate(f Fleet) []Concern {
	m := &migration{f: f}
	for _, ro := range f.Rollouts {
		m.rollout(ro)
	}
	for _, t := range f.Templates {
		m.template(v1alpha1.KindAnalysisTemplate+" "+t.Namespace+"/"+t.Name, t.Spec, t.Malformed)
	}
	for _, t := range f.ClusterTemplates {
		m.template(v1alpha1.KindClusterAnalysisTemplate+" "+t.Name, t.Spec, t.Malformed)
	}
	for _, c := range f.ConfigMaps {
		m.configMap(c)
	}
	for _, d := range f.Controllers {
		m.controller(d)
	}
	for _, secret := range f.IstioPrimaries {
		m.add(Concern{Object: "Secret " + secret, Field: "metadata.labels[" + v1alpha1.LabelIstioPrimaryCluster + "]",
			What: "VirtualServices in a remote Istio primary are not written: plugins have no credentials for other clusters",
			Cure: "run a controller in the primary cluster, or keep the VirtualServices in this one"})
	}
	slices.SortStableFunc(m.concerns, func(a, b Concern) int {
		switch {
		case a.Holds == b.Holds:
			return 0
		case a.Holds:
			return -1
		}
		return 1
	})
	return m.concerns
}

type migration struct {
	f        Fleet
	concerns []Concern
}

func (m *migration) add(c Concern) { m.concerns = append(m.concerns, c) }

func (m *migration) rollout(ro *v1alpha1.Rollout) {
	at := fmt.Sprintf("Rollout %s/%s", ro.Namespace, ro.Name)
	for _, b := range rollout.Blocks(ro) {
		if !b.Releasing && !slices.Contains(m.f.Installed, b.Plugin) {
			m.add(Concern{Object: at, Field: b.Path, Holds: true, What: fmt.Sprintf("no plugin serves router %q: the Rollout would be Blocked (PluginUnavailable)", b.Plugin),
				Cure: "list a plugin for it in argo-rollouts-config; binaries for Argo Rollouts work unchanged" + ingressCure(b.Plugin)})
		}
	}
	for _, name := range rollout.StepPluginNames(ro) {
		if !slices.Contains(m.f.Installed, name) {
			m.add(Concern{Object: at, Field: "spec.strategy.canary.steps[].plugin", Holds: true,
				What: fmt.Sprintf("no plugin serves step %q: the Rollout would be Blocked (PluginUnavailable)", name), Cure: "list it under stepPlugins in argo-rollouts-config"})
		}
	}
	for _, key := range sortedNames(ro.Annotations) {
		if strings.HasPrefix(key, "notifications.argoproj.io/subscribe.") {
			m.add(Concern{Object: at, Field: "metadata.annotations[" + key + "]", What: "notifications are not sent",
				Cure: "send them from Kubernetes events, whose reasons are the same, or keep the annotation for the way back"})
		}
	}
	if c := ro.Spec.Strategy.Canary; c != nil && c.TrafficRouting != nil && c.TrafficRouting.ALB != nil {
		m.add(Concern{Object: at, Field: "spec.strategy.canary.trafficRouting.alb", What: "AWS target groups are not verified before pods leave",
			Cure: "set scaleDownDelaySeconds to at least the deregistration delay of the target group"})
	}
	if len(ro.Status.ALBs) > 0 && ro.Spec.Strategy.BlueGreen != nil {
		m.add(Concern{Object: at, Field: "status.albs", What: "AWS target groups were verified for this Rollout and are no more", Cure: "set scaleDownDelaySeconds to at least the deregistration delay"})
	}
	// The workload is not here to be looked at; its template is nobody's mistake.
	if ro.Spec.WorkloadRef == nil {
		bare := ro.DeepCopy()
		bare.Status = v1alpha1.RolloutStatus{}
		around, _ := Objects{Rollout: bare}.placeholders()
		if why := invalid(around); why != "" && !m.invalidForArgoToo(ro) {
			m.add(Concern{Object: at, Field: "spec", Holds: true, What: why, Cure: "correct it before the controllers change places"})
		}
	}
}

// invalidForArgoToo: the other controller refuses it already, so nothing gets
// different.
func (m *migration) invalidForArgoToo(ro *v1alpha1.Rollout) bool {
	for _, c := range ro.Status.Conditions {
		if c.Type == v1alpha1.ConditionInvalidSpec && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func ingressCure(plugin string) string {
	if plugin == "nginx" {
		return "; or move to the Gateway API: 'migrate ingress' writes the HTTPRoutes"
	}
	return ""
}

func (m *migration) template(at string, spec v1alpha1.AnalysisTemplateSpec, malformed []v1alpha1.MalformedField) {
	for _, f := range malformed {
		m.add(Concern{Object: at, Field: f.Path, Holds: true, What: f.Problem + ", which Argo Rollouts ignores and Sluice refuses", Cure: "correct the field"})
	}
	for i, metric := range spec.Metrics {
		plugin, _, err := runspec.Provider(metric.Provider)
		if err == nil && !slices.Contains(m.f.Installed, plugin) {
			m.add(Concern{Object: at, Field: fmt.Sprintf("spec.metrics[%d].provider", i), Holds: true,
				What: fmt.Sprintf("no plugin serves provider %q: Rollouts that use the template would be Blocked (PluginUnavailable)", plugin),
				Cure: "list a plugin for it under metricProviderPlugins in argo-rollouts-config"})
		}
	}
}

func (m *migration) configMap(c *corev1.ConfigMap) {
	at := fmt.Sprintf("ConfigMap %s/%s", c.Namespace, c.Name)
	if c.Name == "argo-rollouts-notification-configmap" && len(c.Data) > 0 {
		m.add(Concern{Object: at, Field: "data", What: "notifications are not sent; the ConfigMap is ignored", Cure: "send them from Kubernetes events, whose reasons are the same"})
	}
}

// controller looks at flags and variables that mean something else, or nothing.
func (m *migration) controller(d *appsv1.Deployment) {
	at := fmt.Sprintf("Deployment %s/%s", d.Namespace, d.Name)
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, arg := range append(slices.Clone(c.Command), c.Args...) {
			switch flag, value, _ := strings.Cut(arg, "="); {
			case flag == "--aws-verify-target-group" && value != "false", flag == "--alb-verify-weight" && value != "false":
				m.add(Concern{Object: at, Field: "args " + arg, What: "AWS target groups are not verified before pods leave", Cure: "set scaleDownDelaySeconds of Rollouts behind an ALB to at least the deregistration delay"})
			case flag == "--self-service-notification-enabled" && value != "false":
				m.add(Concern{Object: at, Field: "args " + arg, What: "notifications are not sent", Cure: "send them from Kubernetes events, whose reasons are the same"})
			case flag == "--controllers":
				m.add(Concern{Object: at, Field: "args " + arg, What: "there is no analysis-only mode", Cure: "run the whole controller; without Rollouts it does nothing else"})
			}
		}
		for _, env := range c.Env {
			switch env.Name {
			case "ARGO_ROLLOUTS_ANALYSIS_JOB_KUBECONFIG", "ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE":
				m.add(Concern{Object: at, Field: "env " + env.Name, What: "Jobs that measure run in the namespace of their AnalysisRun, in this cluster only", Cure: "allow the Jobs there, or measure with another provider"})
			case "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS":
				m.add(Concern{Object: at, Field: "env " + env.Name, What: "plugins do not see the controller's variables: templates without an address have no default one",
					Cure: "list the prometheus plugin in argo-rollouts-config with env: [{name: ARGO_ROLLOUTS_PROMETHEUS_ADDRESS}], or write addresses into the templates"})
			}
		}
	}
}

func sortedNames(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Uses says whether a Rollout names the plugin as a router or a step, and
// whether it waits for a plugin of that name.
func Uses(ro *v1alpha1.Rollout, plugin string) (uses, blocked bool) {
	for _, b := range rollout.Blocks(ro) {
		uses = uses || b.Plugin == plugin
	}
	uses = uses || slices.Contains(rollout.StepPluginNames(ro), plugin)
	for _, c := range ro.Status.Conditions {
		blocked = blocked || c.Type == v1alpha1.ConditionBlocked && c.Status == corev1.ConditionTrue && strings.Contains(c.Message, plugin)
	}
	return uses || blocked, blocked
}
