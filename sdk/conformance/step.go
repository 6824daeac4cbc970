package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
	stepv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/step/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

// StepFixture is what a suite has to know about one step.
type StepFixture struct {
	// Process is the process-level configuration for Configure. Empty: none.
	Process string
	// Egress are the entries of egress.allow that the blocks below need, such as the loopback addresses of a test. Nil: none.
	Egress []string
	// Config is the step's block, as JSON, that ends well. Empty: `{}`; if the step refuses that, most cases are skipped.
	Config string
	// Target is the rollout. Zero fields get values.
	Target plugin.Target
	// Objects are the objects of the cluster, as JSON.
	Objects []string
	// Converge plays whatever the step waits for, after each write and before a running step is asked again. Nil: nothing
	// does.
	Converge func(*objects.Object)
	// Failing is a block for which the step ends Failed. Empty: the case is skipped.
	Failing string
	// Undone looks at the objects after an abort of a step that was successful. Nil: they have to be as before the step.
	Undone func(objects []string) error
	// UnknownField is a block with a field that is not known, and UnknownPath that field's path. Empty: Config with the
	// field `conformanceUnknown` at its root.
	UnknownField, UnknownPath string
	// Missing is a block that refers to an object that is not in Objects. Empty: the case is skipped.
	Missing string
}

// TestStep runs the suite as subtests.
func TestStep(t *testing.T, launch Launcher, fixture StepFixture) {
	t.Helper()
	report, err := Step(t.Context(), launch, fixture)
	show(t, report, err)
}

// Step runs the suite. An error means that the suite could not run; what the plugin does wrong is in the report.
func Step(ctx context.Context, launch Launcher, fixture StepFixture) (Report, error) {
	fixture.Target = named(fixture.Target, "web", "rollout-uid")
	guessed := fixture.Config == ""
	fixture.Config = orEmpty(fixture.Config)
	conn, err := launch(ctx)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()

	service := stepv1.Step_ServiceDesc.ServiceName
	described, err := introduce(ctx, conn, fixture.Process, service, fixture.Egress...)
	if err != nil {
		return Report{}, err
	}
	client := stepv1.NewStepClient(conn.Conn)
	answer, err := client.Capabilities(ctx, &stepv1.CapabilitiesRequest{})
	if err != nil {
		return Report{}, fmt.Errorf("asking for capabilities: %w", err)
	}
	suite := &stepSuite{
		fixture: fixture, conn: conn, client: client,
		wanted: described.GetKinds(), capabilities: answer.GetCapabilities(),
	}
	unfit := ""
	if guessed {
		unfit = refusal(suite.validate(ctx, fixture.Config))
	}
	report := newReport(described, service, answer.GetCapabilities())
	report.Results = runChecks(ctx, conn, suite, unfit, stepChecks())

	return report, nil
}

// stepSuite is what the cases of one run share.
type stepSuite struct {
	fixture      StepFixture
	conn         *Connection
	client       stepv1.StepClient
	wanted       []*lifecyclev1.WantedKind
	capabilities []stepv1.Capability
}

func (s *stepSuite) can(capability stepv1.Capability) bool {
	return slices.Contains(s.capabilities, capability)
}

func (s *stepSuite) validate(ctx context.Context, block string) error {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return err
	}
	var needs []*typesv1.Need

	return feed(c, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		answer, err := s.client.Validate(ctx, &stepv1.ValidateRequest{
			Target: s.fixture.Target.Proto(), Config: rawConfig(block), Inputs: inputs,
		})

		return answer.GetNeeds(), err
	})
}

// stepAnswer is what RunResponse, TerminateResponse and AbortResponse share.
type stepAnswer interface {
	GetPhase() stepv1.Phase
	GetMessage() string
	GetRequeueAfter() *durationpb.Duration
	GetState() []byte
	GetNeeds() []*typesv1.Need
	GetWrites() []*typesv1.Write
}

// execution is one step of one rollout.
type execution struct {
	suite   *stepSuite
	cluster *cluster
	id      string
	block   string
	state   []byte
}

func (s *stepSuite) execution(id, block string) (*execution, error) {
	c, err := newCluster(s.fixture.Objects, s.wanted)
	if err != nil {
		return nil, err
	}

	return &execution{suite: s, cluster: c, id: id, block: block}, nil
}

type stepVerb func(context.Context, *execution, []*typesv1.NeedResult) (stepAnswer, error)

func run(ctx context.Context, e *execution, inputs []*typesv1.NeedResult) (stepAnswer, error) {
	return e.suite.client.Run(ctx, &stepv1.RunRequest{
		Target: e.suite.fixture.Target.Proto(), OperationId: e.id, Config: rawConfig(e.block), State: e.state, Inputs: inputs,
	})
}

func terminate(ctx context.Context, e *execution, inputs []*typesv1.NeedResult) (stepAnswer, error) {
	return e.suite.client.Terminate(ctx, &stepv1.TerminateRequest{
		Target: e.suite.fixture.Target.Proto(), OperationId: e.id, Config: rawConfig(e.block), State: e.state, Inputs: inputs,
	})
}

func abort(ctx context.Context, e *execution, inputs []*typesv1.NeedResult) (stepAnswer, error) {
	return e.suite.client.Abort(ctx, &stepv1.AbortRequest{
		Target: e.suite.fixture.Target.Proto(), OperationId: e.id, Config: rawConfig(e.block), State: e.state, Inputs: inputs,
	})
}

// once makes one call with everything it needs, and what it asks for. Without keep the state is lost with the answer, as
// when the host ends before it has recorded it.
func (e *execution) once(ctx context.Context, verb stepVerb, keep bool) (stepAnswer, error) {
	var (
		answer stepAnswer
		needs  []*typesv1.Need
	)
	err := feed(e.cluster, &needs, func(inputs []*typesv1.NeedResult) ([]*typesv1.Need, error) {
		var err error
		if answer, err = verb(ctx, e, inputs); err != nil {
			return nil, err
		}

		return answer.GetNeeds(), nil
	})
	if err != nil {
		return nil, err
	}
	switch phase := answer.GetPhase(); {
	case phase == stepv1.Phase_PHASE_UNSPECIFIED:
		return nil, errors.New("no phase although all needs were answered")
	case len(answer.GetState()) > step.MaxState:
		return nil, fmt.Errorf("state has %d bytes, more than %d", len(answer.GetState()), step.MaxState)
	}
	if err := e.cluster.apply(e.suite.fixture.Target.Namespace, e.suite.fixture.Target.UID, answer.GetWrites()); err != nil {
		return nil, err
	}
	if keep {
		e.state = answer.GetState()
	}

	return answer, nil
}

// follow repeats the call until it is no longer running.
func (e *execution) follow(ctx context.Context, verb stepVerb) (stepAnswer, error) {
	for range maxResumes {
		answer, err := e.once(ctx, verb, true)
		if err != nil || answer.GetPhase() != stepv1.Phase_PHASE_RUNNING {
			return answer, err
		}
		if e.suite.fixture.Converge != nil {
			if err := e.cluster.converge(e.suite.fixture.Converge); err != nil {
				return nil, err
			}
		}
	}

	return nil, fmt.Errorf("still running after %d calls", maxResumes)
}
