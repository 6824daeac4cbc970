package v1alpha1

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RolloutStatus is what the controller knows, and where clients write what they
// want: Abort, PromoteFull, PauseConditions and CurrentStepIndex are set by
// users too.
type RolloutStatus struct {
	// Abort stops the update and brings the traffic back to stable. Setting it
	// to false again is a retry.
	Abort bool `json:"abort,omitempty"`
	// PauseConditions are the pauses in force. Clearing them resumes.
	PauseConditions []PauseCondition `json:"pauseConditions,omitempty"`
	// ControllerPause says that the controller added a pause. True without
	// PauseConditions means that a user resumed.
	ControllerPause bool `json:"controllerPause,omitempty"`
	// AbortedAt is when the current abort began. Nil when not aborted.
	AbortedAt *metav1.Time `json:"abortedAt,omitempty"`
	// CurrentPodHash identifies the revision of spec.template.
	CurrentPodHash string `json:"currentPodHash,omitempty"`
	// CurrentStepHash identifies the list of steps. Empty for blue-green.
	CurrentStepHash string `json:"currentStepHash,omitempty"`
	// Replicas is the number of pods of all ReplicaSets.
	Replicas int32 `json:"replicas,omitempty"`
	// UpdatedReplicas is the number of pods of the new revision.
	UpdatedReplicas int32 `json:"updatedReplicas,omitempty"`
	// ReadyReplicas is the number of ready pods; for blue-green, active ones.
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// AvailableReplicas is the number of available pods; for blue-green,
	// active ones.
	AvailableReplicas int32 `json:"availableReplicas,omitempty"`
	// CurrentStepIndex is the step being done, len(steps) when all are done,
	// nil when there are none. Writing a larger index skips steps.
	CurrentStepIndex *int32 `json:"currentStepIndex,omitempty"`
	// CollisionCount changes the pod hash when a ReplicaSet's name is taken.
	CollisionCount *int32 `json:"collisionCount,omitempty"`
	// ObservedGeneration is metadata.generation as a decimal string.
	ObservedGeneration string `json:"observedGeneration,omitempty"`
	// Conditions are the conditions, at most one of each type.
	Conditions []RolloutCondition `json:"conditions,omitempty"`
	// Canary is the state of a canary strategy. It and BlueGreen are written even
	// when empty, as by Argo Rollouts: clients look into both without asking.
	Canary CanaryStatus `json:"canary"`
	// BlueGreen is the state of a blue-green strategy.
	BlueGreen BlueGreenStatus `json:"blueGreen"`
	// HPAReplicas is what autoscalers read as the current size.
	HPAReplicas int32 `json:"HPAReplicas,omitempty"`
	// Selector is the label selector autoscalers use, as a string.
	Selector string `json:"selector,omitempty"`
	// StableRS is the pod hash (not the name) of the stable ReplicaSet.
	StableRS string `json:"stableRS,omitempty"`
	// RestartedAt is the last spec.restartAt that was carried out.
	RestartedAt *metav1.Time `json:"restartedAt,omitempty"`
	// PromoteFull skips the steps, pauses and analyses that are left.
	PromoteFull bool `json:"promoteFull,omitempty"`
	// Phase sums the rollout up.
	Phase RolloutPhase `json:"phase,omitempty"`
	// Message says why Phase is what it is.
	Message string `json:"message,omitempty"`
	// WorkloadObservedGeneration is the generation of the referenced workload
	// as a decimal string. Empty without spec.workloadRef.
	WorkloadObservedGeneration string `json:"workloadObservedGeneration,omitempty"`
	// ALB is the first of ALBs.
	ALB *ALBStatus `json:"alb,omitempty"`
	// ALBs describes the load balancers of verified AWS ingresses.
	ALBs []ALBStatus `json:"albs,omitempty"`
	// Duration times the current update.
	Duration *RolloutDuration `json:"duration,omitempty"`
}

// PauseCondition is a pause in force.
type PauseCondition struct {
	Reason    PauseReason `json:"reason,omitempty"`
	StartTime metav1.Time `json:"startTime,omitzero"`
}

// CanaryStatus is the state of a canary strategy.
type CanaryStatus struct {
	// CurrentStepAnalysisRunStatus is the run of an analysis step.
	CurrentStepAnalysisRunStatus *RolloutAnalysisRunStatus `json:"currentStepAnalysisRunStatus,omitempty"`
	// CurrentBackgroundAnalysisRunStatus is the background run.
	CurrentBackgroundAnalysisRunStatus *RolloutAnalysisRunStatus `json:"currentBackgroundAnalysisRunStatus,omitempty"`
	// CurrentExperiment is the name of a step's experiment until it succeeds.
	CurrentExperiment string `json:"currentExperiment,omitempty"`
	// Weights are the weights last acknowledged by the routers. Nil without
	// traffic routing.
	Weights *TrafficWeights `json:"weights,omitempty"`
	// StablePingPong is which of the two Services is the stable one.
	StablePingPong PingPongType `json:"stablePingPong,omitempty"`
	// StepPluginStatuses are the calls of plugin steps, keyed by index and
	// operation.
	StepPluginStatuses []StepPluginStatus `json:"stepPluginStatuses,omitempty"`
	// StepPluginAttempt counts how often StepPluginStatuses was begun anew. It
	// is part of the operation ids that step plugins get. The field is Sluice's
	// own; other clients ignore it.
	StepPluginAttempt int32 `json:"stepPluginAttempt,omitempty"`
	// Routers is what the controller remembers of each router it writes to.
	// The field is Sluice's own; other clients ignore it.
	Routers []RouterStatus `json:"routers,omitempty"`
}

// BlueGreenStatus is the state of a blue-green strategy.
type BlueGreenStatus struct {
	// PreviewSelector is the pod hash in the preview Service.
	PreviewSelector string `json:"previewSelector,omitempty"`
	// ActiveSelector is the pod hash in the active Service.
	ActiveSelector string `json:"activeSelector,omitempty"`
	// ScaleUpPreviewCheckPoint says that the preview was available at
	// PreviewReplicaCount and may grow to full size.
	ScaleUpPreviewCheckPoint bool `json:"scaleUpPreviewCheckPoint,omitempty"`
	// PrePromotionAnalysisRunStatus is the run before the switch.
	PrePromotionAnalysisRunStatus *RolloutAnalysisRunStatus `json:"prePromotionAnalysisRunStatus,omitempty"`
	// PostPromotionAnalysisRunStatus is the run after the switch.
	PostPromotionAnalysisRunStatus *RolloutAnalysisRunStatus `json:"postPromotionAnalysisRunStatus,omitempty"`
}

// RolloutAnalysisRunStatus is an AnalysisRun as its rollout sees it.
type RolloutAnalysisRunStatus struct {
	Name    string        `json:"name,omitempty"`
	Status  AnalysisPhase `json:"status,omitempty"`
	Message string        `json:"message,omitempty"`
}

// PingPongType is one of two Services that take turns.
type PingPongType string

// The two Services, as CanaryStatus.StablePingPong names them.
const (
	PingPongPing PingPongType = "ping"
	PingPongPong PingPongType = "pong"
)

// TrafficWeights is a split of the traffic.
type TrafficWeights struct {
	Canary WeightDestination `json:"canary"`
	Stable WeightDestination `json:"stable"`
	// Additional are the destinations of experiments.
	Additional []WeightDestination `json:"additional,omitempty"`
	// Verified says whether the data plane follows the weights. Nil means that
	// nobody can tell.
	Verified *bool `json:"verified,omitempty"`
}

// WeightDestination is one destination of a split.
type WeightDestination struct {
	// Weight is this destination's share of the total weight.
	Weight int32 `json:"weight"`
	// ServiceName is the Service that is the destination, if there is one.
	ServiceName string `json:"serviceName,omitempty"`
	// PodTemplateHash identifies the revision.
	PodTemplateHash string `json:"podTemplateHash,omitempty"`
}

// RouterStatus is what the controller remembers of one router, written before
// the router's first write.
type RouterStatus struct {
	// Plugin is the name of the router's plugin, unique in the list.
	Plugin string `json:"plugin,omitempty"`
	// Config is the router's block of the spec as the plugin last got it, at
	// most MaxRouterConfigBytes. It is kept so that a block that is gone from
	// the spec can still be released.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Config json.RawMessage `json:"config,omitempty"`
	// ManagedRoutes are the names of routes the plugin may delete.
	ManagedRoutes []string `json:"managedRoutes,omitempty"`
	// Holds are the parts of objects this rollout claims.
	Holds []RouterHold `json:"holds,omitempty"`
	// Intended is the split the router was last asked for. Before the first one
	// it is everything on the stable Service, without revisions; nil where there
	// are no Services, and for a router that cannot be observed.
	Intended *TrafficWeights `json:"intended,omitempty"`
	// IntendedRoutes are the managed routes that go with Intended, by name and a
	// digest of what they do. Only for routers that cannot be observed, like the
	// four fields that follow, and for those that split between subsets.
	IntendedRoutes []string `json:"intendedRoutes,omitempty"`
	// Acknowledged is the split the router last took on. Nil before the first
	// one, and when it took it on with another Config.
	Acknowledged *TrafficWeights `json:"acknowledged,omitempty"`
	// AcknowledgedRoutes are the managed routes that go with Acknowledged.
	AcknowledgedRoutes []string `json:"acknowledgedRoutes,omitempty"`
	// Unacknowledged are the splits the router was asked for before Intended
	// without an answer: each of them may be in place. Empty when an answer to
	// Intended, or to what came before it, is known.
	Unacknowledged []TrafficWeights `json:"unacknowledged,omitempty"`
	// UnacknowledgedRoutes are the managed routes that went with Unacknowledged.
	UnacknowledgedRoutes []string `json:"unacknowledgedRoutes,omitempty"`
	// Since is when Intended was recorded; nil before the router was asked for
	// anything.
	Since *metav1.Time `json:"since,omitempty"`
	// SettledSince is since when the observation equals Intended. Nil while it
	// does not.
	SettledSince *metav1.Time `json:"settledSince,omitempty"`
	// Phase is Active, or Releasing for a router that is no longer in the spec.
	Phase RouterPhase `json:"phase,omitempty"`
}

// MaxRouterConfigBytes is the most JSON a RouterStatus keeps as Config.
const MaxRouterConfigBytes = 8 << 10

// RouterHold is one part of one object that carries a rollout's traffic. Two
// rollouts must not hold the same.
type RouterHold struct {
	// Object names the object.
	Object string `json:"object,omitempty"`
	// Key names the part of it; it does not change when parts are reordered.
	Key string `json:"key,omitempty"`
}

// RouterPhase is what a router is being asked for.
type RouterPhase string

// Phases of a router.
const (
	// RouterActive follows the rollout's weights.
	RouterActive RouterPhase = "Active"
	// RouterReleasing is being brought back to how it was without the rollout.
	RouterReleasing RouterPhase = "Releasing"
)

// StepPluginStatus is one operation of one plugin step.
type StepPluginStatus struct {
	// Index is the step's index.
	Index int32 `json:"index"`
	// Name is the plugin's name.
	Name string `json:"name,omitempty"`
	// Message is what the plugin said.
	Message string `json:"message,omitempty"`
	// Phase is what the operation has come to. Empty for a disabled plugin.
	Phase StepPluginPhase `json:"phase,omitempty"`
	// StartedAt is when the operation was first called.
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// UpdatedAt is when it was last called.
	UpdatedAt *metav1.Time `json:"updatedAt,omitempty"`
	// FinishedAt is when it ended. Nil while it runs.
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// Operation is what was asked for.
	Operation StepPluginOperation `json:"operation,omitempty"`
	// Backoff is the wait after UpdatedAt before the next call.
	Backoff DurationString `json:"backoff,omitempty"`
	// Executions counts the calls.
	Executions int32 `json:"executions,omitempty"`
	// Disabled says that the plugin is switched off; the step is skipped.
	Disabled bool `json:"disabled,omitempty"`
	// Status is the plugin's own state, passed back with the next call.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Status json.RawMessage `json:"status,omitempty"`
}

// StepPluginPhase is what a step plugin answers.
type StepPluginPhase string

// Phases of a step plugin.
const (
	StepPluginPhaseRunning    StepPluginPhase = "Running"
	StepPluginPhaseSuccessful StepPluginPhase = "Successful"
	StepPluginPhaseFailed     StepPluginPhase = "Failed"
	StepPluginPhaseError      StepPluginPhase = "Error"
)

// StepPluginOperation is what a step plugin is asked for.
type StepPluginOperation string

// Operations of a step plugin.
const (
	// StepPluginOperationRun does the step.
	StepPluginOperationRun StepPluginOperation = "Run"
	// StepPluginOperationTerminate ends a Run that is not wanted any more.
	StepPluginOperationTerminate StepPluginOperation = "Terminate"
	// StepPluginOperationAbort takes a Run back.
	StepPluginOperationAbort StepPluginOperation = "Abort"
)

// RolloutCondition is one condition.
type RolloutCondition struct {
	Type   RolloutConditionType   `json:"type,omitempty"`
	Status corev1.ConditionStatus `json:"status,omitempty"`
	// LastUpdateTime is when the condition was last set, changed or not.
	LastUpdateTime metav1.Time `json:"lastUpdateTime,omitzero"`
	// LastTransitionTime is when Status last changed.
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
	Reason             string      `json:"reason,omitempty"`
	Message            string      `json:"message,omitempty"`
}

// ALBStatus describes an AWS load balancer.
type ALBStatus struct {
	Ingress           string         `json:"ingress,omitempty"`
	LoadBalancer      AWSResourceRef `json:"loadBalancer,omitzero"`
	CanaryTargetGroup AWSResourceRef `json:"canaryTargetGroup,omitzero"`
	StableTargetGroup AWSResourceRef `json:"stableTargetGroup,omitzero"`
}

// AWSResourceRef names an AWS resource.
type AWSResourceRef struct {
	Name     string `json:"name,omitempty"`
	ARN      string `json:"arn,omitempty"`
	FullName string `json:"fullName,omitempty"`
}

// RolloutDuration times an update.
type RolloutDuration struct {
	// RolloutStartedAt is when the update began.
	RolloutStartedAt *metav1.Time `json:"rolloutStartedAt,omitempty"`
	// ManualPauseStartedAt is when the pause in force began. Nil without one.
	ManualPauseStartedAt *metav1.Time `json:"manualPauseStartedAt,omitempty"`
	// TotalManualPauseDurationSeconds sums up the pauses that ended.
	TotalManualPauseDurationSeconds int64 `json:"totalManualPauseDurationSeconds,omitempty"`
	// FinishedAt is when the update ended. Nil before.
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// CompletionStatus is how it ended. Empty before.
	CompletionStatus CompletionStatus `json:"completionStatus,omitempty"`
}

// CompletionStatus is how an update ended.
type CompletionStatus string

// Ways an update can end.
const (
	CompletionPromoted       CompletionStatus = "Promoted"
	CompletionFastPromoted   CompletionStatus = "FastPromoted"
	CompletionAborted        CompletionStatus = "Aborted"
	CompletionSuperseded     CompletionStatus = "Superseded"
	CompletionRolledBack     CompletionStatus = "RolledBack"
	CompletionFastRolledBack CompletionStatus = "FastRolledBack"
)
