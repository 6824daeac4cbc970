package plugins

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/sdk/handshake"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	metricproviderv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/metricprovider/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// serviceKinds maps gRPC services to kinds.
var serviceKinds = map[string]Kind{
	trafficrouterv1.TrafficRouter_ServiceDesc.ServiceName:   KindTrafficRouter,
	metricproviderv1.MetricProvider_ServiceDesc.ServiceName: KindMetricProvider,
	stepv1.Step_ServiceDesc.ServiceName:                     KindStep,
}

// facts are what a plugin told about itself, and what follows for it. They are
// immutable and outlive the process they came from.
type facts struct {
	version string
	offers  map[Kind]bool
	wants   []want
	grant   rollout.Grant

	router rollout.Capabilities
	// cancels and collects: the metric provider has something to cancel or
	// collect.
	cancels, collects bool
	// terminates and aborts: the step has something to stop or to undo.
	terminates, aborts bool
}

// selector is the label selector the plugin gave for a kind of high volume;
// nil when it needs every object, or none.
func (f *facts) selector(gk schema.GroupKind) *metav1.LabelSelector {
	if f == nil {
		return nil
	}
	for _, w := range f.wants {
		if w.kind == gk {
			return w.selector
		}
	}
	return nil
}

// instance is a configured process: the only thing calls go to.
type instance struct {
	*child
	*facts
	entry *entry
	// generation differs for each process.
	generation string

	// argo drives a net/rpc plugin; nil for gRPC, whose clients follow.
	argo *argo

	lifecycle lifecyclev1.LifecycleClient
	routers   trafficrouterv1.TrafficRouterClient
	providers metricproviderv1.MetricProviderClient
	steps     stepv1.StepClient
	health    grpc_health_v1.HealthClient

	// suspect asks for a health check now: a call got no answer.
	suspect chan struct{}
	// hopeless asks for the end of the process, and says why: it serves, but
	// does not answer.
	hopeless chan error

	mu      sync.Mutex
	calls   int
	retired bool
	idle    chan struct{}
}

// startInstance runs the entry and configures the process. On an error nothing is left
// behind. phase is told the states on the way.
func (d *deps) startInstance(ctx context.Context, e *entry, phase func(State)) (*instance, error) {
	phase(StateStarting)
	c, err := d.launch(ctx, e, newLogSink(d.log.WithValues("plugin", e.id)))
	if err != nil {
		return nil, err
	}
	i := &instance{
		child: c, entry: e,
		suspect:  make(chan struct{}, 1),
		hopeless: make(chan error, 1),
		idle:     make(chan struct{}),
	}
	i.connect()
	phase(StateConfiguring)
	if err := i.introduce(ctx, d); err != nil {
		i.kill(d.timing.kill)
		if end := c.proc.ownFate("it ended while it was configured"); end != nil {
			err = end
		}
		return nil, err
	}
	i.generation = fmt.Sprintf("%s@%s#%d", e.id, i.version, d.generation())
	return i, nil
}

// connect makes the clients of the connection.
func (i *instance) connect() {
	if i.entry.argo != "" {
		i.argo = &argo{kind: i.entry.argo, rpc: i.rpc, ping: i.ping, end: func(why error) {
			i.giveUp(why)
			i.proc.terminate()
		}}
		return
	}
	i.lifecycle = lifecyclev1.NewLifecycleClient(i.conn)
	i.routers = trafficrouterv1.NewTrafficRouterClient(i.conn)
	i.providers = metricproviderv1.NewMetricProviderClient(i.conn)
	i.steps = stepv1.NewStepClient(i.conn)
	i.health = grpc_health_v1.NewHealthClient(i.conn)
}

// introduceArgo makes a net/rpc plugin ready; it has nothing to tell.
func (i *instance) introduceArgo(ctx context.Context, d *deps) error {
	err := d.ask(ctx, i.entry.id, "InitPlugin", d.timing.configure, func(ctx context.Context) (err error) {
		i.facts, err = i.argo.introduce(ctx)
		return err
	})
	if err != nil {
		return explainStart("InitPlugin", err)
	}
	return nil
}

// introduce asks who the plugin is, gives it its configuration, and asks what
// its services can do.
func (i *instance) introduce(ctx context.Context, d *deps) error {
	if i.argo != nil {
		return i.introduceArgo(ctx, d)
	}
	var described *lifecyclev1.DescribeResponse
	err := d.ask(ctx, i.entry.id, "Lifecycle/Describe", d.timing.describe, func(ctx context.Context) (err error) {
		described, err = i.lifecycle.Describe(ctx, &lifecyclev1.DescribeRequest{
			Capabilities: []lifecyclev1.HostCapability{lifecyclev1.HostCapability_HOST_CAPABILITY_CAPABILITIES},
			HostVersion:  d.version,
		})
		if err == nil {
			i.facts, err = readDescription(i.entry, described)
		}
		return err
	})
	if err != nil {
		return explainStart("Describe", err)
	}
	err = d.ask(ctx, i.entry.id, "Lifecycle/Configure", d.timing.configure, func(ctx context.Context) error {
		_, err := i.lifecycle.Configure(ctx, &lifecyclev1.ConfigureRequest{
			Config: &typesv1.RawConfig{Json: i.entry.config}, Egress: i.entry.egress.proto(),
		})
		return err
	})
	if err != nil {
		return explainStart("Configure", err)
	}
	if err := i.askCapabilities(ctx, d); err != nil {
		return explainStart("Capabilities", err)
	}
	return nil
}

// askCapabilities asks once: they are constant for the life of the process.
func (i *instance) askCapabilities(ctx context.Context, d *deps) error {
	if i.offers[KindTrafficRouter] {
		err := d.ask(ctx, i.entry.id, "TrafficRouter/Capabilities", d.timing.capabilities, func(ctx context.Context) error {
			answer, err := i.routers.Capabilities(ctx, &trafficrouterv1.CapabilitiesRequest{})
			i.router = routerCapabilities(answer)
			return err
		})
		if err != nil {
			return err
		}
	}
	if i.offers[KindMetricProvider] {
		err := d.ask(ctx, i.entry.id, "MetricProvider/Capabilities", d.timing.capabilities, func(ctx context.Context) error {
			answer, err := i.providers.Capabilities(ctx, &metricproviderv1.CapabilitiesRequest{})
			for _, c := range answer.GetCapabilities() {
				i.cancels = i.cancels || c == metricproviderv1.Capability_CAPABILITY_CANCEL
				i.collects = i.collects || c == metricproviderv1.Capability_CAPABILITY_COLLECT
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !i.offers[KindStep] {
		return nil
	}
	return d.ask(ctx, i.entry.id, "Step/Capabilities", d.timing.capabilities, func(ctx context.Context) error {
		answer, err := i.steps.Capabilities(ctx, &stepv1.CapabilitiesRequest{})
		for _, c := range answer.GetCapabilities() {
			i.terminates = i.terminates || c == stepv1.Capability_CAPABILITY_TERMINATE
			i.aborts = i.aborts || c == stepv1.Capability_CAPABILITY_ABORT
		}
		return err
	})
}

// ask makes one counted call with a deadline. The error is gRPC's.
func (d *deps) ask(ctx context.Context, plugin, method string, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	d.metrics.called(plugin, method, err, time.Since(began))
	return err
}

func explainStart(method string, err error) error {
	p := classify("", method, err)
	if p.Path != "" {
		return fmt.Errorf("%s: config.%s: %s", method, p.Path, p.Message)
	}
	var bad *brokenContract
	if errors.As(err, &bad) {
		return fmt.Errorf("its answer to %s breaks the contract: %s", method, bad.what)
	}
	return fmt.Errorf("%s failed (%s): %s", method, codeLabel(err), sentence(statusMessage(err)))
}

var (
	validPluginName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	validVersion    = regexp.MustCompile(`^\d{1,9}\.\d{1,9}\.\d{1,9}([-+][0-9A-Za-z.+-]{1,64})?$`)
)

// maxWantedKinds bounds Describe; the largest router needs about ten.
const maxWantedKinds = 64

// readDescription checks the introduction against the contract and the entry.
func readDescription(e *entry, d *lifecyclev1.DescribeResponse) (*facts, error) {
	if !validPluginName.MatchString(d.GetName()) {
		return nil, broken("name %q is not made of lower-case letters, digits and dashes, at most 63", cut(d.GetName(), 80))
	}
	if !validVersion.MatchString(d.GetVersion()) {
		return nil, broken("version %q is not a semantic version", cut(d.GetVersion(), 80))
	}
	if n := len(d.GetKinds()); n > maxWantedKinds {
		return nil, broken("it wants %d kinds of objects, more than %d", n, maxWantedKinds)
	}
	f := &facts{version: d.GetVersion(), offers: map[Kind]bool{}}
	for _, s := range d.GetServices() {
		if kind, known := serviceKinds[s.GetName()]; known {
			f.offers[kind] = true
		}
	}
	if len(f.offers) == 0 {
		return nil, broken("it offers no service this host knows")
	}
	for _, kind := range e.kinds {
		if !f.offers[kind] {
			return nil, broken("it is listed as a %s in the plugin ConfigMap, but does not offer that service", kind)
		}
	}
	var err error
	if f.wants, err = wantsFrom(d.GetKinds()); err != nil {
		return nil, broken("%v", err)
	}
	f.grant = effectiveGrant(e, f.wants)
	return f, nil
}

// check asks the process whether it serves. Ping would do without a deadline,
// and take NOT_SERVING for well.
func (i *instance) check(ctx context.Context, d *deps, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if i.argo != nil {
		err := i.argo.check(ctx)
		d.metrics.health.WithLabelValues(i.entry.id, codeLabel(err)).Inc()
		if err != nil {
			return fmt.Errorf("ping failed (%s)", codeLabel(err))
		}
		return nil
	}
	answer, err := i.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: handshake.HealthService})
	d.metrics.health.WithLabelValues(i.entry.id, codeLabel(err)).Inc()
	if err != nil {
		return fmt.Errorf("health check failed (%s)", codeLabel(err))
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health check says %s", cut(answer.GetStatus().String(), 32))
	}
	return nil
}

// giveUp has the process replaced.
func (i *instance) giveUp(why error) {
	select {
	case i.hopeless <- why:
	default:
	}
}

// givenUp is why the host itself ended the process; nil when it did not.
func (i *instance) givenUp() error {
	select {
	case why := <-i.hopeless:
		return why
	default:
		return nil
	}
}

// enter begins a call; false when the instance takes no more.
func (i *instance) enter() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.retired {
		return false
	}
	i.calls++
	return true
}

// leave ends a call.
func (i *instance) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls--
	if i.retired && i.calls == 0 {
		close(i.idle)
	}
}

// retire lets calls in flight finish, then closes the plugin and kills it.
// Calls have until timing.drain, or timing.shutdown after the end of ctx; those
// left then are cut off.
func (i *instance) retire(ctx context.Context, d *deps) {
	i.mu.Lock()
	if i.retired = true; i.calls == 0 {
		close(i.idle)
	}
	i.mu.Unlock()
	if !i.finished(ctx.Done(), d.timing.drain) {
		i.finished(nil, d.timing.shutdown)
	}
	select {
	case <-i.proc.exited:
	default:
		if i.argo != nil {
			break // The protocol says no goodbye but Quit, which has no deadline.
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timing.closing)
		_, _ = i.lifecycle.Close(ctx, &lifecyclev1.CloseRequest{}) // It is killed in any case.
		cancel()
	}
	i.kill(d.timing.kill)
}

// finished waits until no call is left, or none can be answered, or there was
// enough time. False when hurry came first.
func (i *instance) finished(hurry <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-i.idle:
	case <-i.proc.exited:
	case <-timer.C:
	case <-hurry:
		return false
	}
	return true
}
