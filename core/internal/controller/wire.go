package controller

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/act"
	"github.com/sluice-rollouts/sluice/core/internal/analysis"
	"github.com/sluice-rollouts/sluice/core/internal/broker"
	"github.com/sluice-rollouts/sluice/core/internal/observe"
	"github.com/sluice-rollouts/sluice/core/internal/plugins"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// wired is what Run has to start and stop besides the manager.
type wired struct {
	host   *plugins.Host
	events *Events
}

// wire joins the parts that do not know each other: host and broker become
// routers, routers and caches become snapshots, plans become writes.
func wire(o Options, cfg *rest.Config, mgr ctrl.Manager, counters *Metrics) (*wired, error) {
	// Events in protobuf cost both sides less; the clients of the manager speak it
	// by themselves.
	compact := rest.CopyConfig(cfg)
	compact.ContentType, compact.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	clients, err := kubernetes.NewForConfig(compact)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	recorder := NewEvents(mgr.GetScheme(), clients.CoreV1(), counters, o.Log.WithName("events"))
	host, err := newHost(o, recorder, mgr.GetAPIReader())
	if err != nil {
		return nil, err
	}
	rollouts, runs := &doorbell{}, &doorbell{}
	measuring := NewMeasuring(func(name string) (MetricPlugin, *rollout.Problem) {
		p, problem := host.Provider(name)
		if problem != nil {
			return nil, problem
		}
		return p, nil
	}, nil)
	objects, err := newBroker(cfg, clients.Discovery(), o, func(subscriber string) {
		measuring.Changed(subscriber)
		switch kind, key, ok := ParseSubscriber(subscriber); {
		case ok && kind == v1alpha1.KindRollout:
			rollouts.ring(key)
		case ok && kind == v1alpha1.KindAnalysisRun:
			runs.ring(key)
		}
	})
	if err != nil {
		return nil, err
	}
	measuring.Objects = objects
	if err := mgr.Add(leading(objects.Run)); err != nil {
		return nil, err
	}
	if err := followConfig(mgr, host); err != nil {
		return nil, err
	}
	lanes := &Lanes{}
	routers := routersOf(host, objects, lanes, rollouts, mgr.GetCache())
	steps := stepsOf(host, objects, lanes, rollouts)
	host.OnChange(func(name string) { go ringUsers(mgr.GetCache(), host, name, rollouts, runs) })

	workloads, err := newWorkloads(o, mgr, func(key client.ObjectKey) { rollouts.ring(key) })
	if err != nil {
		return nil, err
	}
	written := &observe.Written{}
	reconciler := &Rollouts{
		Reader:   mgr.GetCache(),
		Observer: &observe.Observer{Reader: mgr.GetCache(), Routers: routers, Workloads: workloads, Live: mgr.GetAPIReader(), Providers: installed{host}, StepPlugins: installed{host}, StepChecks: steps, Written: written},
		Actor:    &act.Actor{Writer: mgr.GetClient(), Live: mgr.GetAPIReader(), Router: routers, Steps: steps, Memory: written},
		Events:   recorder,
		Metrics:  counters,
		Retries:  Retries(),
		Forget: func(key client.ObjectKey) {
			routers.Forget(key)
			steps.Forget(key)
		},
	}
	if err := watchRollouts(mgr, reconciler, rollouts, o.Threads); err != nil {
		return nil, fmt.Errorf("watch rollouts: %w", err)
	}
	if err := watchLeftovers(o, mgr, recorder); err != nil {
		return nil, err
	}
	if err := watchAnalysisRuns(mgr, host, measuring, recorder, runs, counters, o.AnalysisThreads); err != nil {
		return nil, fmt.Errorf("watch analysis runs: %w", err)
	}
	if err := watchExperiments(mgr, recorder, counters, o.ExperimentThreads); err != nil {
		return nil, fmt.Errorf("watch experiments: %w", err)
	}
	return &wired{host: host, events: recorder}, nil
}

// newHost tells what an administrator should know on the plugin ConfigMap.
func newHost(o Options, recorder record.EventRecorder, live client.Reader) (*plugins.Host, error) {
	reference := &corev1.ConfigMap{}
	reference.Namespace, reference.Name = o.Namespace, ConfigMapName
	host, err := plugins.New(plugins.Options{
		PluginDir: o.PluginDir,
		CacheDir:  o.PluginCache,
		Secrets: func(ctx context.Context, name string) (map[string][]byte, error) {
			return secrets{live}.Secret(ctx, o.Namespace, name)
		},
		RequireDigest: o.RequirePluginDigest,
		Logger:        o.Log.WithName("plugin"),
		Registerer:    metrics.Registry,
		Refuse:        apiServers(o.Rest.Host, os.Getenv("KUBERNETES_SERVICE_HOST")),
		Events: func(e plugins.Event) {
			kind := corev1.EventTypeNormal
			if e.Warning {
				kind = corev1.EventTypeWarning
			}
			recorder.Event(reference, kind, e.Reason, e.Message)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("plugin host: %w", err)
	}
	return host, nil
}

func newBroker(cfg *rest.Config, disco discovery.DiscoveryInterface, o Options, notify func(subscriber string)) (*broker.Broker, error) {
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("dynamic client: %w", err)
	}
	d, ok := disco.(broker.Discovery)
	if !ok {
		return nil, fmt.Errorf("discovery client %T cannot be used by the broker", disco)
	}
	return broker.New(broker.Options{
		Client: dyn, Discovery: d, Log: o.Log.WithName("broker"),
		Notify: notify,
	}), nil
}

// leading runs only on the leader.
type leading func(context.Context) error

func (l leading) Start(ctx context.Context) error { return l(ctx) }

var _ crmanager.Runnable = leading(nil)

// followConfig hands every version of the plugin ConfigMap to the host.
func followConfig(mgr ctrl.Manager, host *plugins.Host) error {
	informer, err := mgr.GetCache().GetInformer(context.Background(), &corev1.ConfigMap{}, crcache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch ConfigMap %s: %w", ConfigMapName, err)
	}
	set := func(obj any) {
		if cm, ok := obj.(*corev1.ConfigMap); ok {
			host.SetConfig(cm.Data)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, now any) { set(now) },
		DeleteFunc: func(any) { host.SetConfig(nil) },
	})
	return err
}

// installed answers observe from the catalog, without starting a plugin.
type installed struct{ host *plugins.Host }

// Problem implements observe.Providers.
func (i installed) Problem(provider v1alpha1.MetricProvider) (string, *rollout.Problem) {
	name, _, err := analysis.ProviderName(provider)
	if err != nil {
		return "", nil // decide reports the template
	}
	return name, i.host.Installed(name, plugins.KindMetricProvider)
}

// StepProblem implements observe.StepPlugins.
func (i installed) StepProblem(plugin string) *rollout.Problem {
	if i.host.Disabled(plugin, plugins.KindStep) {
		return nil
	}
	return i.host.Installed(plugin, plugins.KindStep)
}

func allRollouts(reader client.Reader) []*v1alpha1.Rollout {
	var list v1alpha1.RolloutList
	if err := reader.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil // before the caches have started there is nothing to compare with
	}
	out := make([]*v1alpha1.Rollout, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out
}

// ringUsers asks for a pass over everything that uses a plugin whose answers
// may have changed.
func ringUsers(reader client.Reader, host *plugins.Host, name string, rollouts, runs *doorbell) {
	for _, ro := range allRollouts(reader) {
		if uses(ro, host, name) {
			rollouts.ring(client.ObjectKeyFromObject(ro))
		}
	}
	var list v1alpha1.AnalysisRunList
	if err := reader.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range list.Items {
		if !list.Items[i].Status.Phase.Completed() {
			runs.ring(types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name})
		}
	}
}

// uses: by a router block, or possibly by a template; templates are few, and a
// pass that finds nothing to do costs nothing.
func uses(ro *v1alpha1.Rollout, host *plugins.Host, name string) bool {
	for _, block := range rollout.Blocks(ro) {
		if host.Canonical(block.Plugin) == name {
			return true
		}
	}
	for _, plugin := range rollout.StepPluginNames(ro) {
		if host.Canonical(plugin) == name {
			return true
		}
	}
	return len(rollout.TemplateRefs(ro)) > 0
}
