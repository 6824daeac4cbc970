package conformance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// RouterFixture is what a suite has to know about one traffic router.
type RouterFixture struct {
	// Process is the process-level configuration for Configure. Empty: none.
	Process string
	// Config is a user's block, as JSON. Empty: `{}`; if the router refuses that, most cases are skipped.
	Config string
	// Target is the rollout. Zero fields get values: namespace `shop`, name `web`, services `web-stable`, `web-canary`.
	Target plugin.Target
	// Objects are the objects of the cluster, as JSON, in the state a release leaves: all weight on stable, nothing of the
	// router's own. Put rules, fields and backends of others into them: the suite checks that they stay.
	Objects []string
	// Converge plays the data plane: it gets each object after each write and sets in the status what the data plane
	// writes once it has taken over. Nil: the router does not wait for anything.
	Converge func(*objects.Object)
	// TotalWeight of the states. Zero: 100.
	TotalWeight int32
	// ExperimentService is the Service of an Experiment's pods, present in Objects if the router looks for it. Empty: no
	// experiments.
	ExperimentService string
	// UnknownField is a block with a field that is not known, and UnknownPath that field's path. Empty: Config with the
	// field `conformanceUnknown` at its root.
	UnknownField, UnknownPath string
	// Shorter is a block that names a part of what Config does, such as one of two routes. The suite shortens Config to it
	// while traffic is split: the rest is released, and the part goes on. Empty: blocks of the router have no parts.
	Shorter string
	// Missing is a block that refers to an object that is not in Objects. Empty: Config, in an empty cluster.
	Missing string
	// MaxManagedRoutes is how many managed routes there can be at once in the data plane. Zero: no limit.
	MaxManagedRoutes int
	// Headers is what managed routes match. Nil: `x-conformance` exactly `canary`.
	Headers []trafficrouter.HeaderMatch
}

// TestTrafficRouter runs the suite as subtests.
func TestTrafficRouter(t *testing.T, launch Launcher, fixture RouterFixture) {
	t.Helper()
	report, err := TrafficRouter(t.Context(), launch, fixture)
	show(t, report, err)
}

// TrafficRouter runs the suite. An error means that the suite could not run: the plugin does not start, or the fixture is
// wrong. What the plugin does wrong is in the report.
func TrafficRouter(ctx context.Context, launch Launcher, fixture RouterFixture) (Report, error) {
	guessed := fixture.Config == ""
	fixture = fixture.withDefaults()
	conn, err := launch(ctx)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()

	service := routerv1.TrafficRouter_ServiceDesc.ServiceName
	described, err := introduce(ctx, conn, fixture.Process, service)
	if err != nil {
		return Report{}, err
	}
	client := routerv1.NewTrafficRouterClient(conn.Conn)
	answer, err := client.Capabilities(ctx, &routerv1.CapabilitiesRequest{})
	if err != nil {
		return Report{}, fmt.Errorf("asking for capabilities: %w", err)
	}
	suite := &routerSuite{
		fixture: fixture, launch: launch, conn: conn, client: client,
		wanted: described.GetKinds(), capabilities: answer.GetCapabilities(),
	}
	unfit := ""
	if guessed {
		unfit = suite.unfit(ctx)
	}
	report := newReport(described, service, answer.GetCapabilities())
	report.Results = runChecks(ctx, conn, suite, unfit, routerChecks())

	return report, nil
}

func (f RouterFixture) withDefaults() RouterFixture {
	f.Target = named(f.Target, "web", "rollout-uid")
	f.Target.StableService = cmp.Or(f.Target.StableService, "web-stable")
	f.Target.CanaryService = cmp.Or(f.Target.CanaryService, "web-canary")
	if f.Config == "" {
		f.Config = emptyBlock
		if f.Objects == nil {
			f.Objects = []string{serviceNamed(f.Target.Namespace, f.Target.StableService), serviceNamed(f.Target.Namespace, f.Target.CanaryService)}
		}
	}
	f.Target.Generation = max(f.Target.Generation, 1)
	if f.TotalWeight == 0 {
		f.TotalWeight = 100
	}
	if f.Headers == nil {
		f.Headers = []trafficrouter.HeaderMatch{{
			Name: "x-conformance", Value: trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: "canary"},
		}}
	}

	return f
}

// serviceNamed is a Service with one port.
func serviceNamed(namespace, name string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":%q,"namespace":%q},`+
		`"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":8080}]}}`, name, namespace)
}

// unfit says why the router does not take the block that was tried for want of another; "": it does.
func (s *routerSuite) unfit(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	session, err := s.session()
	if err != nil {
		return ""
	}

	return refusal(session.validate(ctx, s.fixture.Config, s.envelope()))
}

// routerSuite is what the cases of one run share.
type routerSuite struct {
	fixture      RouterFixture
	launch       Launcher
	conn         *Connection
	client       routerv1.TrafficRouterClient
	wanted       []*lifecyclev1.WantedKind
	capabilities []routerv1.Capability
}

func (s *routerSuite) can(capability routerv1.Capability) bool {
	return slices.Contains(s.capabilities, capability)
}

// Names of the managed routes the suite uses. One is never routed: it has to be gone always.
const (
	routeA     = "conformance-a"
	routeB     = "conformance-b"
	routeM     = "conformance-m"
	routeNever = "conformance-never"
)

// weights is the state with the given canary weight and managed routes.
func (s *routerSuite) weights(canary int32, routes ...trafficrouter.ManagedRoute) trafficrouter.Traffic {
	f := s.fixture

	return trafficrouter.Traffic{
		TotalWeight: f.TotalWeight,
		Destinations: []trafficrouter.Destination{
			{Role: trafficrouter.RoleStable, Service: f.Target.StableService, PodTemplateHash: "stablehash", Weight: f.TotalWeight - canary},
			{Role: trafficrouter.RoleCanary, Service: f.Target.CanaryService, PodTemplateHash: "canaryhash", Weight: canary},
		},
		ManagedRoutes: routes,
		ManagedNames:  []string{routeA, routeB, routeM, routeNever},
	}
}

// states are the routing states of the suite, by name and in order: the corners of the weights, and what else the router
// says it can do.
func (s *routerSuite) states() []state {
	total := s.fixture.TotalWeight
	all := []state{
		{"canary 0", s.weights(0)},
		{"canary 1", s.weights(1)},
		{"canary a third", s.weights(total / 3)},
		{"canary all but 1", s.weights(total - 1)},
		{"canary all", s.weights(total)},
	}
	a := trafficrouter.ManagedRoute{Name: routeA, Header: &trafficrouter.HeaderRoute{Match: s.fixture.Headers}}
	b := trafficrouter.ManagedRoute{Name: routeB, Header: &trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{
		{Name: "x-conformance-b", Value: trafficrouter.StringMatch{Kind: trafficrouter.MatchExact, Value: "b"}},
	}}}
	if s.can(routerv1.Capability_CAPABILITY_HEADER_ROUTES) {
		all = append(all,
			state{"canary 0 and a header route", s.weights(0, a)},
			state{"canary a third and two header routes", s.weights(total/3, a, b)},
			state{"canary a third and two header routes in another order", s.weights(total/3, b, a)},
		)
	}
	if s.can(routerv1.Capability_CAPABILITY_MIRROR_ROUTES) {
		all = append(all, state{"canary 0 and a mirror", s.weights(0, trafficrouter.ManagedRoute{
			Name: routeM, Mirror: &trafficrouter.MirrorRoute{Percentage: 100, Match: []trafficrouter.RequestMatch{
				{Path: trafficrouter.StringMatch{Kind: trafficrouter.MatchPrefix, Value: "/"}},
			}},
		})})
	}
	if s.can(routerv1.Capability_CAPABILITY_EXPERIMENTS) && s.fixture.ExperimentService != "" {
		traffic := s.weights(total / 3)
		share := total / 10
		traffic.Destinations[0].Weight -= share
		traffic.Destinations = append(traffic.Destinations, trafficrouter.Destination{
			Role: trafficrouter.RoleExperiment, Service: s.fixture.ExperimentService,
			PodTemplateHash: "experimenthash", Weight: share,
		})
		all = append(all, state{"canary a third and an experiment", traffic})
	}

	return slices.DeleteFunc(all, func(st state) bool {
		return s.fixture.MaxManagedRoutes > 0 && len(st.traffic.ManagedRoutes) > s.fixture.MaxManagedRoutes
	})
}

type state struct {
	name    string
	traffic trafficrouter.Traffic
}
