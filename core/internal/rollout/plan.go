package rollout

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Plan is what decide wants to happen next. It holds only operations that are
// safe given the snapshot; waiting is the absence of the next operation, and
// every absence leaves a Hold.
type Plan struct {
	// Ops in the order they are executed.
	Ops   []Op
	Holds []Hold
	// Invalid is the message of the InvalidSpec condition; "" when valid.
	Invalid string
	// Hash is the pod template hash of the desired revision and StepHash that
	// of the steps; CollisionCount is the one Hash was computed with.
	Hash           string
	StepHash       string
	CollisionCount *int32
	// Revision of the desired ReplicaSet; 0 while there is none.
	Revision int
	// Transition is the one change of position of this pass.
	Transition Transition
	// Wake is when to look again without an event; zero means never.
	Wake time.Time
	// RestartedAt is the spec.restartAt that every pod has been restarted for;
	// nil while status keeps what it says.
	RestartedAt *metav1.Time
	// Routers is the wanted status.canary.routers[]; Weights the acknowledged
	// distribution, nil when traffic is not routed.
	Routers []v1alpha1.RouterStatus
	Weights *v1alpha1.TrafficWeights
	// StepRun and BackgroundRun are the current AnalysisRuns, nil when there
	// is none.
	StepRun       *v1alpha1.RolloutAnalysisRunStatus
	BackgroundRun *v1alpha1.RolloutAnalysisRunStatus
	// Experiment is the name of the current step's Experiment; "" without one.
	Experiment string
	// StepPlugins is the wanted status.canary.stepPluginStatuses[], before the
	// answers to the calls of this plan.
	StepPlugins []v1alpha1.StepPluginStatus
	// PreRun and PostRun are the AnalysisRuns before and after the switch of
	// the current blue-green update. They stay when it is over.
	PreRun  *v1alpha1.RolloutAnalysisRunStatus
	PostRun *v1alpha1.RolloutAnalysisRunStatus
}

// TransitionKind names how a rollout's position changes.
type TransitionKind string

const (
	// TransitionNone leaves the position alone.
	TransitionNone TransitionKind = ""
	// TransitionReset starts the update to a new template or new steps.
	TransitionReset TransitionKind = "Reset"
	// TransitionStep completes the current step.
	TransitionStep TransitionKind = "StepCompleted"
	// TransitionPause adds a pause condition.
	TransitionPause TransitionKind = "Pause"
	// TransitionScaleUpPreview lets a blue-green preview that was analysed and
	// promoted at its own size grow to full size.
	TransitionScaleUpPreview TransitionKind = "ScaleUpPreview"
	// TransitionSwitched ends the pause before a blue-green switch after it.
	TransitionSwitched TransitionKind = "Switched"
	// TransitionForgetAbort drops an abort that has nothing left to give up.
	TransitionForgetAbort TransitionKind = "ForgetAbort"
	// TransitionPromote makes the desired revision the stable one.
	TransitionPromote TransitionKind = "Promote"
	// TransitionSkip goes behind the last step: full promotion was asked for.
	TransitionSkip TransitionKind = "SkipToEnd"
	// TransitionAbort gives up the update.
	TransitionAbort TransitionKind = "Abort"
	// TransitionAborted records an abort asked for by a person.
	TransitionAborted TransitionKind = "Aborted"
	// TransitionRetry starts an aborted update again.
	TransitionRetry TransitionKind = "Retry"
)

// Transition is one change of position with what a reader wants to know.
type Transition struct {
	Kind TransitionKind
	// Index is the step index afterwards; nil when there are no steps.
	Index *int32
	// Pause is the reason added by TransitionPause, or by a TransitionStep to a
	// pause step; "" adds none.
	Pause v1alpha1.PauseReason
	// Message explains aborts ("Step-based analysis phase error/failed: …"),
	// promotions ("Completed all 8 canary steps"), and resets that skip the
	// steps; "" for those that do not.
	Message string
	// Step describes the completed step, e.g. "setWeight: 10".
	Step string
	// After lists operations without which the position does not change.
	After []OpID
	// PingPong is which of the two Services is the stable one after a promotion;
	// "" without ping-pong.
	PingPong v1alpha1.PingPongType
}

// HoldReason is the reason of the Blocked condition.
type HoldReason string

const (
	HoldPluginUnavailable  HoldReason = v1alpha1.ReasonPluginUnavailable
	HoldWaitingForPlugin   HoldReason = v1alpha1.ReasonWaitingForPlugin
	HoldPluginRefused      HoldReason = "PluginRefused"
	HoldRouteConflict      HoldReason = v1alpha1.ReasonRouteConflict
	HoldWaitingForPods     HoldReason = v1alpha1.ReasonWaitingForPods
	HoldWaitingForTraffic  HoldReason = v1alpha1.ReasonWaitingForTraffic
	HoldWaitingForRun      HoldReason = "WaitingForAnalysis"
	HoldWaitingForStep     HoldReason = "WaitingForStepPlugin"
	HoldPaused             HoldReason = "Paused"
	HoldInvalidSpec        HoldReason = "InvalidSpec"
	HoldWaitingForWorkload HoldReason = "WaitingForWorkload"
	HoldDisruptionBudget   HoldReason = "WaitingForDisruptionBudget"
	HoldInvariant          HoldReason = "InvariantViolated"
)

// Hold is a wait with a name.
type Hold struct {
	Reason HoldReason
	// What is missing, as a sentence for a person.
	What string
	// EndedBy says what ends the wait.
	EndedBy string
	// Until is when the clock alone ends it; zero when it does not.
	Until time.Time
	// Blocking holds set the Blocked condition: something is wrong or somebody
	// has to act. The others are ordinary progress.
	Blocking bool
}

// OpID identifies an operation within a plan, and is the same in every plan
// that holds the same operation.
type OpID string

// Op is one effect. The set is closed: act handles exactly these.
type Op interface {
	// ID is stable and unique in the plan.
	ID() OpID
	// After lists operations that must have succeeded before this one runs.
	After() []OpID
	isOp()
}

// Identity is embedded in every operation.
type Identity struct {
	OpID      OpID
	DependsOn []OpID
}

// ID implements Op.
func (i Identity) ID() OpID { return i.OpID }

// After implements Op.
func (i Identity) After() []OpID { return i.DependsOn }

func (Identity) isOp() {}

// PatchRollout changes metadata or spec of the Rollout itself: the default of
// spec.replicas, the annotations of the revision and of the generation of the
// referenced workload. Nothing else.
type PatchRollout struct {
	Identity
	ResourceVersion string
	Replicas        *int32
	Revision        string
	// WorkloadGeneration is the generation of the referenced workload; "" when
	// it need not be written.
	WorkloadGeneration string
}

// CreateReplicaSet creates the ReplicaSet of the desired revision with 0
// replicas.
type CreateReplicaSet struct {
	Identity
	ReplicaSet *appsv1.ReplicaSet
}

// AdoptReplicaSet sets this Rollout as controller of an orphan.
type AdoptReplicaSet struct {
	Identity
	Name            string
	UID             string
	ResourceVersion string
}

// UpdateReplicaSet changes the size or the annotations of a ReplicaSet in one
// patch.
type UpdateReplicaSet struct {
	Identity
	Name            string
	ResourceVersion string
	Hash            string
	Revision        string
	// From and To are replica counts; equal when only annotations change.
	From, To int32
	// Annotations to set; a nil value removes the key.
	Annotations     map[string]*string
	MinReadySeconds *int32
	// Template changes parts of the pod template that are not part of its hash;
	// nil when it stays.
	Template *TemplatePatch
}

// TemplatePatch changes what a role puts into a pod template. A nil value
// removes the key.
type TemplatePatch struct {
	Labels      map[string]*string
	Annotations map[string]*string
	// SetAffinity replaces the affinity by Affinity, which may be nil.
	SetAffinity bool
	Affinity    *corev1.Affinity
}

// SyncPods brings the metadata of a role to the running pods of a ReplicaSet
// whose template has it already. Labels and Annotations are what to put on each
// pod; a nil value removes the key.
type SyncPods struct {
	Identity
	Name            string
	UID             string
	ResourceVersion string
	Hash            string
	Labels          map[string]*string
	Annotations     map[string]*string
}

// EvictPod asks for the end of one pod, where its PodDisruptionBudget allows it.
type EvictPod struct {
	Identity
	Name string
	UID  string
}

// Scales reports whether the operation changes the size.
func (o UpdateReplicaSet) Scales() bool { return o.From != o.To }

// DeleteReplicaSet removes a ReplicaSet beyond the history limit.
type DeleteReplicaSet struct {
	Identity
	Name            string
	UID             string
	ResourceVersion string
}

// ScaleWorkload changes the size of the Deployment that spec.workloadRef names.
type ScaleWorkload struct {
	Identity
	Name            string
	ResourceVersion string
	From, To        int32
	// Remember is the count to give back when the Rollout is deleted; nil when
	// the Deployment says it already.
	Remember *int32
}

// PointService makes a Service select one revision.
type PointService struct {
	Identity
	Name            string
	ResourceVersion string
	// From is "" when the Service selected every revision.
	From, To string
	// Claim sets the managed-by annotation as well.
	Claim bool
}

// RouteTraffic asks a router for a distribution.
type RouteTraffic struct {
	Identity
	Router  Router
	Desired Traffic
	// Weights is what status records when it succeeded.
	Weights v1alpha1.TrafficWeights
	// Verify says that the router has acknowledged this distribution already
	// and is asked only whether the data plane follows; for routers without
	// OBSERVE.
	Verify bool
}

// ReleaseTraffic asks a router that the spec no longer names to leave.
type ReleaseTraffic struct {
	Identity
	Router  Router
	Release Release
}

// CreateAnalysisRun creates a run with a deterministic name.
type CreateAnalysisRun struct {
	Identity
	Run *v1alpha1.AnalysisRun
}

// TerminateAnalysisRun sets spec.terminate.
type TerminateAnalysisRun struct {
	Identity
	Name            string
	ResourceVersion string
}

// DeleteAnalysisRun removes a run beyond the history limit.
type DeleteAnalysisRun struct {
	Identity
	Name            string
	UID             string
	ResourceVersion string
}

// CreateExperiment creates the Experiment of a step, with a deterministic name.
type CreateExperiment struct {
	Identity
	Experiment *v1alpha1.Experiment
}

// TerminateExperiment sets spec.terminate.
type TerminateExperiment struct {
	Identity
	Name            string
	ResourceVersion string
}

// DeleteExperiment removes an Experiment beyond the history limit.
type DeleteExperiment struct {
	Identity
	Name            string
	UID             string
	ResourceVersion string
}

// CallStep asks a step plugin. Its answer is in Outcome.Steps.
type CallStep struct {
	Identity
	Call StepCall
}

// RecordIntent asks for nothing but the status write of this pass: what it
// records must be in the API before the effect that follows from it.
type RecordIntent struct {
	Identity
	What string
}

// Outcome is what became of a plan.
type Outcome struct {
	// Done holds the operations that succeeded, Failed those that did not,
	// with the reason. Operations whose predecessors failed are in neither.
	Done   map[OpID]bool
	Failed map[OpID]error
	// ResourceVersion of the Rollout after the plan's own patch of it; "" when
	// there was none. The status write is based on it.
	ResourceVersion string
	// Collision is set when the name of the new ReplicaSet is taken by another
	// owner or template.
	Collision bool
	// Converged holds what routers without OBSERVE said of their data plane when
	// they were asked to route; absent means that they said nothing.
	Converged map[OpID]Convergence
	// Steps holds the answers of step plugins that could be asked.
	Steps map[OpID]StepAnswer
}

// Succeeded reports whether the operation was executed without error.
func (o Outcome) Succeeded(id OpID) bool { return o.Done[id] }
