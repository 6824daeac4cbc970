package v1alpha1

// RolloutConditionType is the type of a condition of a rollout.
type RolloutConditionType string

// Conditions of a rollout.
const (
	// ConditionAvailable: enough pods are available.
	ConditionAvailable RolloutConditionType = "Available"
	// ConditionProgressing: the update moves on, has stopped, or is done.
	ConditionProgressing RolloutConditionType = "Progressing"
	// ConditionPaused: the rollout is paused, by a step or by hand.
	ConditionPaused RolloutConditionType = "Paused"
	// ConditionCompleted: the stable revision is the current one.
	ConditionCompleted RolloutConditionType = "Completed"
	// ConditionHealthy: completed, and every pod is available. Absent until it
	// was true once.
	ConditionHealthy RolloutConditionType = "Healthy"
	// ConditionReplicaFailure: a ReplicaSet cannot create or delete pods.
	ConditionReplicaFailure RolloutConditionType = "ReplicaFailure"
	// ConditionInvalidSpec: the spec cannot be carried out. Absent otherwise.
	ConditionInvalidSpec RolloutConditionType = "InvalidSpec"
	// ConditionBlocked: something outside the rollout has to happen first, and
	// no other condition says so. Absent otherwise. Sluice's own.
	ConditionBlocked RolloutConditionType = "Blocked"
	// ConditionPluginWarning: a plugin has a remark about its configuration that
	// stops nothing. Absent otherwise. Sluice's own.
	ConditionPluginWarning RolloutConditionType = "PluginWarning"
)

// Reason of ConditionAvailable, whatever its status.
const ReasonAvailable = "AvailableReason"

// Reasons of ConditionProgressing. RolloutPaused is the reason of
// ConditionPaused too.
const (
	ReasonNewReplicaSetCreated     = "NewReplicaSetCreated"
	ReasonFoundNewReplicaSet       = "FoundNewReplicaSet"
	ReasonReplicaSetUpdated        = "ReplicaSetUpdated"
	ReasonReplicaSetNotAvailable   = "ReplicaSetNotAvailable"
	ReasonNewReplicaSetAvailable   = "NewReplicaSetAvailable"
	ReasonRolloutPaused            = "RolloutPaused"
	ReasonRolloutResumed           = "RolloutResumed"
	ReasonRolloutRetry             = "RolloutRetry"
	ReasonRolloutAborted           = "RolloutAborted"
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	ReasonReplicaSetCreateError    = "ReplicaSetCreateError"
)

// Reasons of the other conditions.
const (
	ReasonRolloutCompleted = "RolloutCompleted"
	ReasonRolloutHealthy   = "RolloutHealthy"
	ReasonInvalidSpec      = "InvalidSpec"
	ReasonPluginWarning    = "PluginWarning"
)

// Reasons of ConditionBlocked.
const (
	// ReasonPluginUnavailable: a plugin the rollout needs is not installed or
	// does not answer.
	ReasonPluginUnavailable = "PluginUnavailable"
	// ReasonWaitingForPlugin: a plugin has not answered yet.
	ReasonWaitingForPlugin = "WaitingForPlugin"
	// ReasonRouteConflict: another rollout holds the same part of a route.
	ReasonRouteConflict = "RouteConflict"
	// ReasonWaitingForPods: pods have to become available first.
	ReasonWaitingForPods = "WaitingForPods"
	// ReasonWaitingForTraffic: the data plane has not taken the weights yet.
	ReasonWaitingForTraffic = "WaitingForTraffic"
)

// ExperimentConditionType is the type of a condition of an experiment.
type ExperimentConditionType string

// Conditions of an experiment.
const (
	ExperimentInvalidSpec    ExperimentConditionType = "InvalidSpec"
	ExperimentProgressing    ExperimentConditionType = "Progressing"
	ExperimentRunning        ExperimentConditionType = "Running"
	ExperimentCompleted      ExperimentConditionType = "Completed"
	ExperimentReplicaFailure ExperimentConditionType = "ReplicaFailure"
)
