// The controller binary: flags → core.Run.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/sluice-rollouts/sluice/core"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg core.Config
	var metrics, health int
	flag.StringVar(&cfg.Namespace, "namespace", "", "namespace of the controller: lease and plugin ConfigMap (default: $POD_NAMESPACE, else the service account's)")
	flag.BoolVar(&cfg.Namespaced, "namespaced", false, "serve only the controller's own namespace")
	flag.StringVar(&cfg.InstanceID, "instance-id", "", "serve only objects labelled argo-rollouts.argoproj.io/controller-instance-id with this value")
	flag.StringVar(&cfg.PluginDir, "plugin-dir", "plugins", "folder of the bundled plugins; file name = plugin name")
	flag.StringVar(&cfg.PluginCache, "plugin-cache", "", "folder that keeps downloaded plugins (default: among the temporary files)")
	flag.BoolVar(&cfg.RequirePluginDigest, "require-plugin-digest", false, "refuse plugins for Argo Rollouts' net/rpc protocol that are listed without sha256")
	flag.BoolVar(&cfg.LeaderElect, "leader-elect", true, "take turns with other replicas through a lease")
	flag.IntVar(&metrics, "metricsPort", 8090, "port of /metrics; 0 turns it off")
	flag.IntVar(&health, "healthzPort", 8080, "port of /healthz and /readyz; 0 turns it off")
	flag.StringVar(&cfg.ProfileAddress, "pprof-address", "", "host:port of net/http/pprof, such as 127.0.0.1:6060; empty turns it off")
	flag.IntVar(&cfg.Threads, "rollout-threads", 10, "rollouts, analysis runs and experiments reconciled at once, each")
	flag.Float64Var(&cfg.QPS, "qps", 0, "requests a second to the API server; 0 leaves it to the server's priority and fairness")
	flag.IntVar(&cfg.Burst, "burst", 0, "requests at once under --qps; 0 means twice --qps")
	logs := zap.Options{}
	logs.BindFlags(flag.CommandLine)
	flag.Parse()

	cfg.Log = zap.New(zap.UseFlagOptions(&logs))
	ctrl.SetLogger(cfg.Log)
	klog.SetLogger(cfg.Log.WithName("client"))
	cfg.MetricsAddress, cfg.HealthAddress = address(metrics), address(health)

	var err error
	if cfg.Namespace, err = namespace(cfg.Namespace); err != nil {
		return err
	}
	if cfg.PluginDir, err = filepath.Abs(cfg.PluginDir); err != nil {
		return fmt.Errorf("--plugin-dir: %w", err)
	}
	if cfg.Rest, err = ctrl.GetConfig(); err != nil {
		return fmt.Errorf("no API server: run in a cluster, or give --kubeconfig: %w", err)
	}
	return core.Run(ctrl.SetupSignalHandler(), cfg)
}

func address(port int) string {
	if port == 0 {
		return ""
	}
	return net.JoinHostPort("", strconv.Itoa(port))
}

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// namespace finds the controller's own namespace where it was not given.
func namespace(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if env := os.Getenv("POD_NAMESPACE"); env != "" {
		return env, nil
	}
	raw, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("the controller's namespace is unknown: give --namespace or set POD_NAMESPACE")
	}
	return string(raw), nil
}
