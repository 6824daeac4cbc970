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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
)

// ConfigMapName is where plugins are listed, in the controller's namespace.
const ConfigMapName = "argo-rollouts-config"

// Lease is shared with Argo Rollouts' controller, so that the two exclude each
// other during a migration.
const Lease = "argo-rollouts-controller-lock"

// Options of Run; see core.Config for what they mean.
type Options struct {
	Rest           *rest.Config
	Namespace      string
	Namespaced     bool
	InstanceID     string
	PluginDir      string
	LeaderElect    bool
	MetricsAddress string
	HealthAddress  string
	Threads        int
	Log            logr.Logger
}

// Run serves until the context ends. Order of the end: no more intake, passes
// finish, then the plugins are stopped.
func Run(ctx context.Context, o Options) error {
	counters, err := NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	cfg := rest.CopyConfig(o.Rest)
	cfg.QPS = -1 // the server's priority and fairness protects it; a client-side limit only makes queues
	cfg.Wrap(counters.Transport)
	mgr, err := manager(o, cfg)
	if err != nil {
		return err
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

func manager(o Options, cfg *rest.Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	mine, err := instance(o.InstanceID)
	if err != nil {
		return nil, fmt.Errorf("--instance-id %q: %w", o.InstanceID, err)
	}
	grace := 15 * time.Second
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme,
		Logger: o.Log,
		Cache:  cacheOptions(o, mine),
		Client: client.Options{Cache: &client.CacheOptions{Unstructured: false}},

		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName(o.InstanceID),
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true, // Run ends right after, so the next leader need not wait
		GracefulShutdownTimeout:       &grace,

		Metrics:                metricsserver.Options{BindAddress: orOff(o.MetricsAddress)},
		HealthProbeBindAddress: orOff(o.HealthAddress),
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
		{&v1alpha1.Rollout{}, serviceIndex, func(o client.Object) []string { return observe.ServiceNames(o.(*v1alpha1.Rollout)) }},
		{&v1alpha1.Rollout{}, templateIndex, func(o client.Object) []string { return templateKeys(o.(*v1alpha1.Rollout)) }},
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
	if len(observe.TemplateRefs(ro)) > 0 {
		// A template may be nested in those the Rollout names, at any depth; a
		// pass that finds nothing to do costs nothing.
		out = append(out, anyTemplate)
	}
	return out
}

const anyTemplate = "any"
