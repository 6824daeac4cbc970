package devcluster

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// prometheusWeb is where Prometheus's API is reached inside.
const prometheusWeb = "127.0.0.1:9090"

//go:embed prometheus.yaml
var prometheusConfig string

const prometheusManifest = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: prometheus}]
`

// StartPrometheus starts Prometheus, without its web pages, in a cluster of
// StartNet and returns when its API answers. config is its configuration file;
// the word KUBECONFIG in it is replaced by the path of a kubeconfig that may read
// pods. Empty means the default: every second it scrapes each running pod with
// annotation prometheus.io/scrape "true", at the pod's address and the port of
// prometheus.io/port, path of prometheus.io/path (default /metrics); series carry
// the pod's labels, and labels namespace and pod.
func (c *Cluster) StartPrometheus(ctx context.Context, config string) (*Server, error) {
	s, err := c.startPrometheus(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	return s, nil
}

func (c *Cluster) startPrometheus(ctx context.Context, config string) (*Server, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Prometheus)
	if err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, prometheusManifest); err != nil {
		return nil, err
	}
	kubeconfig, err := c.KubeconfigFor("prometheus")
	if err != nil {
		return nil, err
	}
	if config == "" {
		config = prometheusConfig
	}
	file := c.path("prometheus.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "KUBECONFIG", kubeconfig)), 0o600); err != nil {
		return nil, err
	}
	ready := func(ctx context.Context, client *http.Client) error {
		return httpOK(ctx, client, "http://"+prometheusWeb+"/-/ready")
	}
	return c.serve(ctx, "prometheus", paths[0], prometheusWeb, ready,
		"--config.file="+file,
		"--storage.tsdb.path="+c.path("prometheus"),
		"--storage.tsdb.retention.time=6h",
		"--web.listen-address="+prometheusWeb,
		"--log.level=warn",
	)
}
