package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// ConfigMapName is where plugins are listed, in the controller's namespace.
const ConfigMapName = "argo-rollouts-config"

// Lease is shared with Argo Rollouts' controller, so that the two exclude each
// other during a migration.
const Lease = "argo-rollouts-controller-lock"

// Options of Run; core.Config is this type. Rest and Namespace are required.
type Options struct {
	// Rest reaches the API server. Its QPS and Burst are not looked at.
	Rest *rest.Config
	// QPS and Burst limit the requests of this process to the API server. A QPS
	// of 0 means no limit: the priority and fairness of the server protects it,
	// and a limit here only makes requests wait. A Burst of 0 means twice QPS.
	QPS   float64
	Burst int
	// Namespace the controller runs in: its lease and the ConfigMap
	// argo-rollouts-config are there.
	Namespace string
	// Namespaced limits the controller to Namespace; otherwise it serves the
	// whole cluster.
	Namespaced bool
	// InstanceID selects the objects labelled with it; empty selects those
	// without the label, as Argo Rollouts does.
	InstanceID string
	// PluginDir holds the bundled plugins, one executable each, named like the
	// plugin. A folder that does not exist holds none.
	PluginDir string
	// PluginCache keeps downloaded plugins. Empty is a folder among the
	// temporary files.
	PluginCache string
	// RequirePluginDigest refuses plugins for Argo Rollouts' net/rpc protocol
	// that are listed without a sha256; otherwise they run, with a Warning.
	RequirePluginDigest bool
	// LeaderElect makes replicas, and Argo Rollouts' controller, take turns.
	LeaderElect bool
	// MetricsAddress and HealthAddress are host:port; empty turns each off.
	MetricsAddress string
	HealthAddress  string
	// ProfileAddress is the host:port of net/http/pprof, which tells what the
	// process does and holds; empty turns it off.
	ProfileAddress string
	// Threads is the number of Rollouts reconciled at once, AnalysisThreads that
	// of AnalysisRuns and ExperimentThreads that of Experiments. Zero means 10.
	Threads, AnalysisThreads, ExperimentThreads int
	// LeaseDuration, RenewDeadline and RetryPeriod pace the lease of LeaderElect.
	// Zero means 15 s, 10 s and 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// Version is told in the metrics; empty means "dev".
	Version string
	Log     logr.Logger
}

// checked fills in the defaults.
func (o Options) checked() (Options, error) {
	switch {
	case o.Rest == nil:
		return o, fmt.Errorf("core: Config.Rest is nil: give the connection to an API server")
	case o.Namespace == "":
		return o, fmt.Errorf("core: Config.Namespace is empty: give the namespace the controller runs in")
	case o.QPS < 0 || o.Burst < 0:
		return o, fmt.Errorf("core: Config.QPS %v and Config.Burst %d must not be negative; 0 means no limit", o.QPS, o.Burst)
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	for _, threads := range []*int{&o.Threads, &o.AnalysisThreads, &o.ExperimentThreads} {
		if *threads == 0 {
			*threads = 10
		}
	}
	for limit, normal := range map[*time.Duration]time.Duration{
		&o.LeaseDuration: 15 * time.Second, &o.RenewDeadline: 10 * time.Second, &o.RetryPeriod: 2 * time.Second,
	} {
		if *limit == 0 {
			*limit = normal
		}
	}
	return o, nil
}

// client is the connection with the limits of the options.
func (o Options) client() *rest.Config {
	cfg := rest.CopyConfig(o.Rest)
	cfg.QPS, cfg.RateLimiter = -1, nil
	// The API server would compress each watch event for itself, and this process
	// take each apart: a tenth of what an update costs the two together, for less
	// traffic on a way that is short.
	cfg.DisableCompression = true
	if o.QPS > 0 {
		burst := o.Burst
		if burst == 0 {
			burst = max(1, int(2*o.QPS))
		}
		cfg.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(o.QPS), burst) // one for all clients
	}
	return cfg
}

// Run serves until the context ends. Order of the end: no more intake, passes
// finish, then the plugins are stopped.
func Run(ctx context.Context, o Options) error {
	o, err := o.checked()
	if err != nil {
		return err
	}
	counters, err := NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	cfg := o.client()
	cfg.Wrap(counters.Transport)
	mgr, err := manager(ctx, o, cfg)
	if err != nil {
		return err
	}
	counters.info.WithLabelValues(o.Version).Set(1)
	objects := &Inventory{reader: mgr.GetCache(), leading: mgr.Elected()}
	if metrics.Registry.Register(objects) == nil { // else another controller of this process tells
		defer metrics.Registry.Unregister(objects)
	}
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	w, err := wire(o, cfg, mgr, counters)
	if err != nil {
		return err
	}
	hosting, stopHost := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHost()
	ended := make(chan error, 1)
	go func() { ended <- w.host.Run(hosting) }()
	err = mgr.Start(ctx)
	w.events.Shutdown()
	stopHost()
	if hostErr := <-ended; err == nil {
		err = hostErr
	}
	return err
}

func manager(ctx context.Context, o Options, cfg *rest.Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	mine, err := instance(o.InstanceID)
	if err != nil {
		return nil, fmt.Errorf("--instance-id %q: %w", o.InstanceID, err)
	}
	newCache := cache.New
	if o.Namespaced {
		allowed, err := clusterTemplatesAllowed(ctx, cfg)
		if err != nil {
			return nil, err
		}
		if !allowed {
			o.Log.Info("ClusterAnalysisTemplates are not used: this account may not list and watch them")
			newCache = newLocalCache
		}
	}
	grace := 15 * time.Second
	several := true // controllers in one process
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme,
		Logger: o.Log,

		MapperProvider: mapper,

		Cache:    cacheOptions(o, mine),
		NewCache: newCache,
		Client:   client.Options{Cache: &client.CacheOptions{Unstructured: false}},

		Controller: config.Controller{SkipNameValidation: &several},

		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName(o.InstanceID),
		LeaderElectionNamespace:       o.Namespace,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 &o.RenewDeadline,
		RetryPeriod:                   &o.RetryPeriod,
		LeaderElectionReleaseOnCancel: true, // Run ends right after, so the next leader need not wait
		GracefulShutdownTimeout:       &grace,

		Metrics:                metricsserver.Options{BindAddress: orOff(o.MetricsAddress)},
		HealthProbeBindAddress: orOff(o.HealthAddress),
		PprofBindAddress:       o.ProfileAddress,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the controller: %w", err)
	}
	// Neither probe depends on plugins or on the size of the cluster.
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

func orOff(address string) string {
	if address == "" {
		return "0"
	}
	return address
}

func leaseName(instance string) string {
	if instance == "" {
		return Lease
	}
	return Lease + "-" + instance
}

// instance selects our objects by label: with the id, or without any.
func instance(id string) (labels.Selector, error) {
	op, values := selection.DoesNotExist, []string(nil)
	if id != "" {
		op, values = selection.Equals, []string{id}
	}
	r, err := labels.NewRequirement(v1alpha1.LabelInstanceID, op, values)
	if err != nil {
		return nil, err
	}
	return labels.NewSelector().Add(*r), nil
}

// cacheOptions keep informers small: only our objects, only ReplicaSets that
// carry our hash, one ConfigMap, nothing's managedFields.
func cacheOptions(o Options, mine labels.Selector) cache.Options {
	hashed, err := labels.NewRequirement(v1alpha1.LabelPodTemplateHash, selection.Exists, nil)
	utilruntime.Must(err)
	out := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Rollout{}:                 {Label: mine},
			&v1alpha1.AnalysisRun{}:             {Label: mine},
			&v1alpha1.Experiment{}:              {Label: mine},
			&v1alpha1.AnalysisTemplate{}:        {Label: mine},
			&v1alpha1.ClusterAnalysisTemplate{}: {Label: mine},
			&appsv1.ReplicaSet{}:                {Label: labels.NewSelector().Add(*hashed)},
			&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{o.Namespace: {}},
				Field:      fields.OneTermEqualSelector("metadata.name", ConfigMapName),
			},
		},
	}
	if o.Namespaced {
		out.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}
	return out
}

// The indexes by which events find Rollouts.
const (
	serviceIndex  = "sluice.services"
	templateIndex = "sluice.templates"
	claimIndex    = "sluice.claims"
	conflictIndex = "sluice.conflict"
)

// conflicted is the only key of conflictIndex.
const conflicted = "conflicted"

func index(ctx context.Context, fi client.FieldIndexer) error {
	for _, ix := range []struct {
		obj  client.Object
		name string
		f    client.IndexerFunc
	}{
		{&appsv1.ReplicaSet{}, observe.OwnerIndex, observe.Owner},
		{&v1alpha1.AnalysisRun{}, observe.OwnerIndex, observe.Owner},
		{&v1alpha1.Experiment{}, observe.OwnerIndex, observe.Owner},
		{&corev1.Service{}, observe.OwnerIndex, observe.Owner},
		{&v1alpha1.Rollout{}, serviceIndex, func(o client.Object) []string { return rollout.ServiceNames(o.(*v1alpha1.Rollout)) }},
		{&v1alpha1.Rollout{}, templateIndex, func(o client.Object) []string { return templateKeys(o.(*v1alpha1.Rollout)) }},
		{&v1alpha1.Rollout{}, workloadIndex, workloadKeys},
		{&v1alpha1.Rollout{}, claimIndex, claimKeys},
		{&v1alpha1.Rollout{}, conflictIndex, conflictKey},
	} {
		if err := fi.IndexField(ctx, ix.obj, ix.name, ix.f); err != nil {
			return fmt.Errorf("index %T by %s: %w", ix.obj, ix.name, err)
		}
	}
	return nil
}

func templateKeys(ro *v1alpha1.Rollout) []string {
	var out []string
	if len(rollout.TemplateRefs(ro)) > 0 {
		// A template may be nested in those the Rollout names, at any depth; a
		// pass that finds nothing to do costs nothing.
		out = append(out, anyTemplate)
	}
	return out
}

const anyTemplate = "any"
