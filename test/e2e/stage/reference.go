package stage

import (
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Reference is somebody else's controller that works in the place of ours, so
// that a benchmark measures both with the same fleet on the same machine: its
// path. It must take Argo Rollouts' flags and show Argo Rollouts' metrics.
type Reference string

// args are the flags; those without a counterpart keep their defaults. The
// client limit of Argo Rollouts (40 requests a second) is such a default.
func (r Reference) args(c *Controller, port string) []string {
	return []string{
		"--kubeconfig=" + c.stage.Cluster.KubeconfigPath(), // deploy/ has no account for it
		"--namespace=" + c.Namespace, "--instance-id=" + c.Instance,
		"--leader-elect=" + strconv.FormatBool(c.lease), "--metricsport=" + port, "--healthzPort=0",
	}
}

// requests are the counts by "verb resource", named as in our own metric. Argo
// Rollouts counts a request to a subresource by the name of the object; these
// are here "of subresources".
func (r Reference) requests(families map[string]*dto.MetricFamily) map[string]float64 {
	out := map[string]float64{}
	for what, n := range sum(families["controller_clientset_k8s_request_total"], "verb", "kind") {
		verb, kind, _ := strings.Cut(strings.ToLower(what), " ")
		if !slices.Contains(referenceKinds, kind) {
			kind = "of subresources"
		}
		out[verb+" "+kind] += n
	}
	return out
}

// referenceKinds are the kinds that a canary's update asks for.
var referenceKinds = []string{
	"rollouts", "replicasets", "events", "pods", "services", "httproutes", "configmaps", "secrets", "leases",
	"analysisruns", "experiments", "analysistemplates", "clusteranalysistemplates", "ingresses", "deployments",
}
