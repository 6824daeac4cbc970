package plugins

import (
	"encoding/gob"
	"encoding/json"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// The arguments and replies of Argo Rollouts' net/rpc plugins. gob matches
// structs by the names they are registered under and fields by their Go names,
// so both are the wire: renaming one breaks every plugin silently.

type argoError struct{ ErrorString string }

type argoUpdateHash struct {
	Rollout                v1alpha1.Rollout
	CanaryHash             string
	StableHash             string
	AdditionalDestinations []v1alpha1.WeightDestination
}

type argoWeight struct {
	Rollout                v1alpha1.Rollout
	DesiredWeight          int32
	AdditionalDestinations []v1alpha1.WeightDestination
}

type argoHeader struct {
	Rollout        v1alpha1.Rollout
	SetHeaderRoute v1alpha1.SetHeaderRoute
}

type argoMirror struct {
	Rollout        v1alpha1.Rollout
	SetMirrorRoute v1alpha1.SetMirrorRoute
}

type argoRemove struct{ Rollout v1alpha1.Rollout }

type argoVerified struct {
	Verified int32
	Err      argoError
}

// The values of argoVerified.Verified.
const (
	argoNotVerified int32 = iota
	argoIsVerified
	argoVerifyNotImplemented
)

type argoRun struct {
	AnalysisRun *v1alpha1.AnalysisRun
	Metric      v1alpha1.Metric
}

type argoResume struct {
	AnalysisRun *v1alpha1.AnalysisRun
	Metric      v1alpha1.Metric
	Measurement v1alpha1.Measurement
}

type argoCollect struct {
	AnalysisRun *v1alpha1.AnalysisRun
	Metric      v1alpha1.Metric
	Limit       int
}

type argoMetadata struct{ Metric v1alpha1.Metric }

type argoStepContext struct {
	PluginName string
	Config     json.RawMessage
	Status     json.RawMessage
}

// The three have one shape and three names: gob tells them apart by type.
type (
	argoStepRun struct {
		Rollout *v1alpha1.Rollout
		Context *argoStepContext
	}
	argoStepTerminate struct {
		Rollout *v1alpha1.Rollout
		Context *argoStepContext
	}
	argoStepAbort struct {
		Rollout *v1alpha1.Rollout
		Context *argoStepContext
	}
)

type argoStepResult struct {
	Phase        string
	Message      string
	RequeueAfter time.Duration
	Status       json.RawMessage
}

type argoStepReply struct {
	Result argoStepResult
	Error  argoError
}

func init() {
	for name, prototype := range map[string]any{
		"RpcError":                     &argoError{},
		"UpdateHashArgs":               &argoUpdateHash{},
		"SetWeightAndVerifyWeightArgs": &argoWeight{},
		"SetHeaderArgs":                &argoHeader{},
		"SetMirrorArgs":                &argoMirror{},
		"RemoveManagedRoutesArgs":      &argoRemove{},
		"RunArgs":                      &argoRun{},
		"TerminateAndResumeArgs":       &argoResume{},
		"GarbageCollectArgs":           &argoCollect{},
		"GetMetadataArgs":              &argoMetadata{},
		"step.RunArgs":                 &argoStepRun{},
		"step.TerminateArgs":           &argoStepTerminate{},
		"step.AbortArgs":               &argoStepAbort{},
	} {
		gob.RegisterName(name, prototype)
	}
}
