package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-rollouts/sluice/core"
)

// flags are those of the controller. All flags of Argo Rollouts' controller are
// accepted, so that the arguments of a Deployment need no change when it is
// swapped; those without a meaning here are named in the log.
type flags struct {
	set             *flag.FlagSet
	cfg             core.Config
	metrics, health int
	logLevel        string
	logFormat       string
	version         bool
}

func newFlags() *flags {
	f := &flags{set: flag.NewFlagSet("controller", flag.ContinueOnError)}
	s, cfg := f.set, &f.cfg
	s.StringVar(&cfg.Namespace, "namespace", "", "namespace of the controller: lease and plugin ConfigMap (default: $POD_NAMESPACE, else the service account's)")
	s.BoolVar(&cfg.Namespaced, "namespaced", false, "serve only the controller's own namespace")
	s.StringVar(&cfg.InstanceID, "instance-id", "", "serve only objects labelled argo-rollouts.argoproj.io/controller-instance-id with this value")
	s.StringVar(&cfg.PluginDir, "plugin-dir", "plugins", "folder of the bundled plugins; file name = plugin name")
	s.StringVar(&cfg.PluginCache, "plugin-cache", "", "folder that keeps downloaded plugins (default: among the temporary files)")
	s.BoolVar(&cfg.RequirePluginDigest, "require-plugin-digest", false, "refuse plugins for Argo Rollouts' net/rpc protocol that are listed without sha256")
	s.BoolVar(&cfg.LeaderElect, "leader-elect", true, "take turns with other replicas through a lease")
	s.DurationVar(&cfg.LeaseDuration, "leader-election-lease-duration", 15*time.Second, "how long others wait before they take over a lease that is not renewed")
	s.DurationVar(&cfg.RenewDeadline, "leader-election-renew-deadline", 10*time.Second, "how long the leader tries to renew its lease before it ends")
	s.DurationVar(&cfg.RetryPeriod, "leader-election-retry-period", 2*time.Second, "how often the lease is renewed and asked for")
	s.IntVar(&f.metrics, "metricsPort", 8090, "port of /metrics; 0 turns it off")
	s.IntVar(&f.metrics, "metricsport", 8090, "the same as --metricsPort")
	s.IntVar(&f.health, "healthzPort", 8080, "port of /healthz and /readyz; 0 turns it off")
	s.StringVar(&cfg.ProfileAddress, "enable-pprof-address", "", "host:port of net/http/pprof, such as 127.0.0.1:6060; empty turns it off")
	s.IntVar(&cfg.Threads, "rollout-threads", 10, "rollouts reconciled at once")
	s.IntVar(&cfg.AnalysisThreads, "analysis-threads", 10, "analysis runs reconciled at once; measurements do not occupy a thread")
	s.IntVar(&cfg.ExperimentThreads, "experiment-threads", 10, "experiments reconciled at once")
	s.Float64Var(&cfg.QPS, "qps", 0, "requests a second to the API server; 0 leaves it to the server's priority and fairness")
	s.IntVar(&cfg.Burst, "burst", 0, "requests at once under --qps; 0 means twice --qps")
	s.StringVar(&f.logLevel, "loglevel", "info", "debug, info, warn or error")
	s.StringVar(&f.logFormat, "logformat", "json", "json or text")
	s.BoolVar(&f.version, "version", false, "print the version and end")
	if kube := flag.CommandLine.Lookup("kubeconfig"); kube != nil { // controller-runtime's
		s.Var(kube.Value, "kubeconfig", "path of a kubeconfig; empty means the service account, or $KUBECONFIG")
	}
	for name := range ofArgo {
		s.Var(&noEffect{slices.Contains(booleans, name)}, name, "accepted without effect: "+ofArgo[name])
	}
	return f
}

// parse reads the arguments.
func (f *flags) parse(args []string) (core.Config, error) {
	f.set.SetOutput(os.Stderr)
	if err := f.set.Parse(args); err != nil {
		return core.Config{}, err
	}
	if f.set.NArg() > 0 {
		return core.Config{}, fmt.Errorf("unexpected argument %q: every argument is a flag, --name or --name=value", f.set.Arg(0))
	}
	f.cfg.Version = version
	f.cfg.MetricsAddress, f.cfg.HealthAddress = address(f.metrics), address(f.health)
	return f.cfg, nil
}

func address(port int) string {
	if port == 0 {
		return ""
	}
	return net.JoinHostPort("", strconv.Itoa(port))
}

// ignored are the flags that were given and have no effect, and why.
func (f *flags) ignored() map[string]string {
	given := map[string]string{}
	f.set.Visit(func(one *flag.Flag) {
		if why, ok := ofArgo[one.Name]; ok {
			given[one.Name] = why
		}
	})
	return given
}

const (
	watched  = "nothing is polled; watches tell of every change"
	together = "this is done in the pass over the rollout"
	plugin   = "the plugin of the router finds out by itself, or is configured in the plugin ConfigMap"
)

// ofArgo are flags of Argo Rollouts' controller that have no effect, with the
// reason.
var ofArgo = map[string]string{
	"rollout-resync":                        watched,
	"service-threads":                       together,
	"ingress-threads":                       together,
	"ephemeral-metadata-threads":            together,
	"ephemeral-metadata-update-pod-retries": "a pod that could not be changed is tried again until it is",
	"istio-api-version":                     plugin,
	"ambassador-api-version":                plugin,
	"traffic-split-api-version":             plugin,
	"traefik-api-group":                     plugin,
	"traefik-api-version":                   plugin,
	"ingress-api-version":                   plugin,
	"appmesh-crd-version":                   plugin,
	"alb-ingress-classes":                   plugin,
	"nginx-ingress-classes":                 plugin,
	"aws-verify-target-group":               "target groups are not verified",
	"alb-verify-weight":                     "target groups are not verified",
	"aws-target-group-binding-api-version":  "target groups are not verified",
	"alb-tag-key-resource-id":               "target groups are not verified",
	"self-service-notification-enabled":     "notifications are not sent",
	"controllers":                           "rollouts, analysis runs and experiments are always served",
	"kloglevel":                             "the log of the client follows --loglevel",
}

// booleans among them.
var booleans = []string{"aws-verify-target-group", "alb-verify-weight", "self-service-notification-enabled"}

// noEffect takes any value; booleans can be given without one.
type noEffect struct{ boolean bool }

// String implements flag.Value.
func (*noEffect) String() string { return "" }

// Set implements flag.Value.
func (*noEffect) Set(string) error { return nil }

// IsBoolFlag tells package flag about a boolean.
func (n *noEffect) IsBoolFlag() bool { return n.boolean }
