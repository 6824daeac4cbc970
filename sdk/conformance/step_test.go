package conformance_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

// gate is a step that takes a ConfigMap for its rollout and waits until somebody has approved.
type gate struct {
	fault string
}

type gateConfig struct {
	Map  string `json:"map"`
	Deny bool   `json:"deny,omitempty"`
}

type gateMap struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

const (
	takenBy  = "sample.sluice.dev/taken-by"
	approved = "sample.sluice.dev/approved"
)

func gateInfo() plugin.Info {
	return plugin.Info{Name: "gate", Version: "0.1.0", Kinds: []plugin.Kind{
		{Kind: "ConfigMap", Verbs: []plugin.Verb{plugin.Read, plugin.Update}},
	}}
}

func (g gate) find(target plugin.Target, raw []byte, in *objects.Inputs) (gateConfig, *objects.Typed[gateMap], error) {
	block, err := config.Decode[gateConfig](raw)
	if err != nil {
		return block, nil, err
	}
	found, err := objects.Get[gateMap](in, objects.Need{Kind: "ConfigMap", Versions: []string{"v1"}, Namespace: target.Namespace, Name: block.Map})

	return block, found, err
}

func (g gate) Validate(_ context.Context, req *step.ValidateRequest) error {
	_, _, err := g.find(req.Target, req.Config, req.Inputs)

	return err
}

func (g gate) Run(_ context.Context, req *step.Request) (*step.Progress, error) {
	block, found, err := g.find(req.Target, req.Config, req.Inputs)
	switch {
	case err != nil:
		return nil, err
	case block.Deny:
		return &step.Progress{Phase: step.Failed, Message: "denied"}, nil
	case found.View.Metadata.Annotations[approved] != "":
		return &step.Progress{Phase: step.Successful, State: []byte("done")}, nil
	}
	found.Set(req.OperationID, "metadata", "annotations", takenBy)
	writes, err := objects.Changed(found.Object)

	return &step.Progress{Phase: step.Running, Message: "waiting for an approval", State: []byte("taken"), Writes: writes}, err
}

func (g gate) Terminate(ctx context.Context, req *step.Request) (*step.Progress, error) {
	return g.leave(ctx, req)
}

func (g gate) Abort(ctx context.Context, req *step.Request) (*step.Progress, error) {
	if g.fault == "leaves a mark" {
		return &step.Progress{Phase: step.Successful}, nil
	}
	if g.fault == "knows no undone" && len(req.State) == 0 {
		return nil, fmt.Errorf("operation %s was never run", req.OperationID)
	}

	return g.leave(ctx, req)
}

func (g gate) leave(_ context.Context, req *step.Request) (*step.Progress, error) {
	_, found, err := g.find(req.Target, req.Config, req.Inputs)
	if err != nil {
		return nil, err
	}
	found.Delete("metadata", "annotations", takenBy)
	found.Delete("metadata", "annotations", approved)
	writes, err := objects.Changed(found.Object)

	return &step.Progress{Phase: step.Successful, Writes: writes}, err
}

func gateFixture() conformance.StepFixture {
	return conformance.StepFixture{
		Config:  `{"map":"gate"}`,
		Failing: `{"map":"gate","deny":true}`,
		Missing: `{"map":"nothing"}`,
		Objects: []string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"gate","namespace":"shop","annotations":{"mine":"1"}}}`},
		Converge: func(object *objects.Object) {
			object.Set("yes", "metadata", "annotations", approved)
		},
	}
}

func gateLauncher(fault string) conformance.Launcher {
	return conformance.InProcess(gateInfo(), step.Service(gate{fault: fault}))
}

func TestAStepInProcess(t *testing.T) {
	t.Parallel()
	conformance.TestStep(t, gateLauncher(""), gateFixture())
}

func TestSampleStepAsBinary(t *testing.T) {
	t.Parallel()
	conformance.TestStep(t, binary(t), conformance.StepFixture{Config: `{}`, Failing: `{"fail":true}`})
}

func TestFaultsOfStepsAreFound(t *testing.T) {
	t.Parallel()

	for fault, want := range map[string]string{
		"leaves a mark":   "a step that was successful is undone by an abort",
		"knows no undone": "an abort of what never ran ends",
	} {
		report, err := conformance.Step(t.Context(), gateLauncher(fault), gateFixture())
		require.NoError(t, err)
		var failed []string
		for _, result := range report.Failures() {
			failed = append(failed, result.Case)
		}
		assert.Equal(t, []string{want}, failed)
	}
	_, err := conformance.Step(t.Context(), conformance.InProcess(sample.Info(), metricprovider.Service(sample.Provider{})), gateFixture())
	require.ErrorContains(t, err, "does not offer sluice.plugin.step.v1.Step")
}
