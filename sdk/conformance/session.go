package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const (
	// maxRounds bounds how often a plugin may discover that it needs more before it answers.
	maxRounds = 8
	// maxStages bounds how many stages a change of traffic may take.
	maxStages = 16
)

// routerSession is one rollout with its own cluster.
type routerSession struct {
	suite   *routerSuite
	client  routerv1.TrafficRouterClient
	target  *typesv1.Target
	cluster *cluster
	needs   []*typesv1.Need
	names   []string
	// block is what the user has written.
	block string
	// kept is what a release is told to keep.
	kept []*routerv1.Claim
	// releasing is what observations are told.
	releasing bool
}

func (s *routerSuite) session() (*routerSession, error) {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return nil, err
	}
	if s.fixture.Converge != nil {
		if err := c.converge(s.fixture.Converge); err != nil {
			return nil, err
		}
	}

	return &routerSession{
		suite: s, client: s.client, target: s.fixture.Target.Proto(), cluster: c, names: s.weights(0).ManagedNames, block: s.fixture.Config,
	}, nil
}

func rawConfig(block string) *typesv1.RawConfig { return &typesv1.RawConfig{Json: []byte(block)} }

// feed calls ask with what it needs, until it needs nothing more.
func feed(c *cluster, known *[]*typesv1.Need, ask func([]*typesv1.NeedResult) ([]*typesv1.Need, error)) error {
	for range maxRounds {
		inputs, err := c.answer(*known)
		if err != nil {
			return err
		}
		needs, err := ask(inputs)
		if err != nil {
			return err
		}
		complete := true
		for _, need := range needs {
			has := slices.ContainsFunc(*known, func(n *typesv1.Need) bool { return proto.Equal(n, need) })
			complete = complete && has
		}
		if complete {
			for _, result := range inputs {
				listed := slices.ContainsFunc(needs, func(n *typesv1.Need) bool { return proto.Equal(n, result.GetNeed()) })
				if listed && result.GetState() != typesv1.NeedResult_STATE_SYNCED {
					return fmt.Errorf("needs %v, which is %v", result.GetNeed(), result.GetState())
				}
			}

			return nil
		}
		*known = needs
	}

	return fmt.Errorf("still needs more after %d rounds", maxRounds)
}

func (s *routerSession) validate(ctx context.Context, block string, envelope *routerv1.Envelope) error {
	var needs []*typesv1.Need

	return feed(s.cluster, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		answer, err := s.client.Validate(ctx, &routerv1.ValidateRequest{
			Target: s.target, Config: rawConfig(block), Envelope: envelope, Inputs: inputs,
		})

		return answer.GetNeeds(), err
	})
}

func (s *routerSession) observe(ctx context.Context) (*routerv1.ObserveResponse, error) {
	var last *routerv1.ObserveResponse
	err := feed(s.cluster, &s.needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		answer, err := s.client.Observe(ctx, s.observeRequest(inputs))
		last = answer

		return answer.GetNeeds(), err
	})
	if err != nil {
		return nil, fmt.Errorf("observing: %w", err)
	}

	return last, nil
}

func (s *routerSession) observeRequest(inputs []*typesv1.NeedResult) *routerv1.ObserveRequest {
	return &routerv1.ObserveRequest{
		Target: s.target, Config: rawConfig(s.block), ManagedNames: s.names,
		TotalWeight: s.suite.fixture.TotalWeight, Releasing: s.releasing, Kept: s.kept, Inputs: inputs,
	}
}

// route asks for one stage.
func (s *routerSession) route(ctx context.Context, traffic *routerv1.Traffic, release bool) (*routerv1.RouteResponse, error) {
	req := &routerv1.RouteRequest{
		Target: s.target, Config: rawConfig(s.block), OperationId: "conformance",
		Intent: &routerv1.RouteRequest_Desired{Desired: traffic},
	}
	if release {
		req.Intent = &routerv1.RouteRequest_Release{Release: &routerv1.Release{Traffic: traffic, Kept: s.kept}}
	}
	var stage *routerv1.RouteResponse
	err := feed(s.cluster, &s.needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		req.Inputs = inputs
		answer, err := s.client.Route(ctx, req)
		stage = answer

		return answer.GetNeeds(), err
	})
	if err != nil {
		return nil, fmt.Errorf("routing: %w", err)
	}

	return stage, nil
}

// stage asks for one stage and applies it. It returns the number of writes.
func (s *routerSession) stage(ctx context.Context, traffic *routerv1.Traffic, release bool) (int, error) {
	stage, err := s.route(ctx, traffic, release)
	if err != nil {
		return 0, err
	}

	return len(stage.GetWrites()), s.cluster.apply(s.target.GetNamespace(), s.target.GetUid(), stage.GetWrites())
}

// settleUnseen is settle for a router that does not observe: it says in each stage whether the data plane follows, and the
// core asks the same again while it does not.
func (s *routerSession) settleUnseen(ctx context.Context, want *routerv1.Traffic, release bool) error {
	for range maxStages {
		stage, err := s.route(ctx, want, release)
		if err != nil {
			return err
		}
		if err := s.cluster.apply(s.target.GetNamespace(), s.target.GetUid(), stage.GetWrites()); err != nil {
			return err
		}
		switch convergence := stage.GetConvergence(); {
		case convergence == routerv1.Convergence_CONVERGENCE_DONE && len(stage.GetWrites()) > 0:
			return errors.New("convergence is DONE beside writes, which nobody has seen yet")
		case convergence != routerv1.Convergence_CONVERGENCE_PENDING:
			return nil
		}
		if s.suite.fixture.Converge != nil {
			if err := s.cluster.converge(s.suite.fixture.Converge); err != nil {
				return err
			}
		}
	}

	return fmt.Errorf("convergence is PENDING after the same was asked for %d times", maxStages)
}

// settle brings about traffic, stage by stage, as the core does: observe, route if something differs, wait for the data
// plane, observe.
func (s *routerSession) settle(ctx context.Context, traffic trafficrouter.Traffic, release bool) error {
	want := traffic.Proto()
	s.releasing = release
	if !s.suite.can(routerv1.Capability_CAPABILITY_OBSERVE) {
		return s.settleUnseen(ctx, want, release)
	}
	for range maxStages {
		seen, err := s.observe(ctx)
		if err != nil {
			return err
		}
		difference := differs(seen, want)
		pending := seen.GetConvergence() == routerv1.Convergence_CONVERGENCE_PENDING
		switch {
		case seen.GetConvergence() == routerv1.Convergence_CONVERGENCE_UNSPECIFIED:
			return errors.New("observed with convergence UNSPECIFIED although all needs were answered")
		case pending && s.suite.fixture.Converge == nil:
			return fmt.Errorf("convergence is PENDING (%s), and the fixture has no Converge", seen.GetMessage())
		case pending:
			revision := s.cluster.revision
			if err := s.cluster.converge(s.suite.fixture.Converge); err != nil {
				return err
			}
			if s.cluster.revision == revision {
				return fmt.Errorf("convergence is PENDING (%s) and stays so after the fixture's Converge", seen.GetMessage())
			}

			continue
		case difference == nil && pointed(seen, want, release):
			return nil
		case difference == nil:
			difference = errors.New("a subset names another revision")
		}
		written, err := s.stage(ctx, want, release)
		if err != nil {
			return err
		}
		if written == 0 {
			return fmt.Errorf("nothing to write, but %w", difference)
		}
	}

	return fmt.Errorf("not there after %d stages", maxStages)
}

// pointed reports that every destination that is no Service but a subset names the revision asked for, and none at all
// after a release: it would reach nobody once that revision is gone.
func pointed(seen *routerv1.ObserveResponse, want *routerv1.Traffic, release bool) bool {
	for _, at := range seen.GetObserved() {
		for _, d := range at.GetTraffic().GetDestinations() {
			if d.GetService() != "" {
				continue
			}
			for _, w := range want.GetDestinations() {
				if w.GetRole() == d.GetRole() && (release && d.GetPodTemplateHash() != "" || !release && d.GetPodTemplateHash() != w.GetPodTemplateHash()) {
					return false
				}
			}
		}
	}

	return true
}

// differs says in what an observation is not the desired traffic; nil: in nothing.
func differs(seen *routerv1.ObserveResponse, want *routerv1.Traffic) error {
	if len(seen.GetObserved()) == 0 {
		return errors.New("no place was observed")
	}
	for _, observed := range seen.GetObserved() {
		if observed.GetResidue() {
			return fmt.Errorf("%s has residue", observed.GetPlace())
		}
		got := observed.GetTraffic()
		if got.GetTotalWeight() != want.GetTotalWeight() {
			return fmt.Errorf("%s: total weight is %d, asked for %d", observed.GetPlace(), got.GetTotalWeight(), want.GetTotalWeight())
		}
		for _, destination := range want.GetDestinations() {
			if w := weightOf(got, destination); w != destination.GetWeight() {
				return fmt.Errorf("%s: weight of %v %s is %d, asked for %d", observed.GetPlace(),
					destination.GetRole(), destination.GetService(), w, destination.GetWeight())
			}
		}
		var sum int64
		for _, destination := range got.GetDestinations() {
			sum += int64(destination.GetWeight())
		}
		if sum != int64(want.GetTotalWeight()) {
			return fmt.Errorf("%s: observed weights sum to %d of %d", observed.GetPlace(), sum, want.GetTotalWeight())
		}
		if !slices.EqualFunc(got.GetManagedRoutes(), want.GetManagedRoutes(), func(a, b *routerv1.ManagedRoute) bool {
			return proto.Equal(a, b)
		}) {
			return fmt.Errorf("%s: managed routes are %v, asked for %v", observed.GetPlace(), got.GetManagedRoutes(), want.GetManagedRoutes())
		}
	}

	return nil
}

// weightOf is the observed weight of a destination, joined as the core joins: by role, or by Service if the plugin cannot
// tell the role.
func weightOf(traffic *routerv1.Traffic, want *routerv1.Destination) int32 {
	var sum int32
	for _, d := range traffic.GetDestinations() {
		byService := d.GetRole() == routerv1.Role_ROLE_UNSPECIFIED || d.GetRole() == routerv1.Role_ROLE_EXPERIMENT
		switch {
		case byService && d.GetService() == want.GetService(), !byService && d.GetRole() == want.GetRole():
			sum += d.GetWeight()
		}
	}

	return sum
}
