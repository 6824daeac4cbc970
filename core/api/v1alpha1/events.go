package v1alpha1

// Reasons of events on a rollout. Clients compare whole lists of them.
const (
	EventRolloutAddedToInformer = "RolloutAddedToInformer"
	EventRolloutUpdated         = "RolloutUpdated"
	EventRolloutCompleted       = "RolloutCompleted"
	EventRolloutNotCompleted    = "RolloutNotCompleted"
	EventRolloutStepCompleted   = "RolloutStepCompleted"
	EventRolloutPaused          = "RolloutPaused"
	EventRolloutResumed         = "RolloutResumed"
	EventRolloutAborted         = "RolloutAborted"
	EventRolloutDeleted         = "RolloutDeleted"
	EventNewReplicaSetCreated   = "NewReplicaSetCreated"
	EventReplicaSetCreateError  = "ReplicaSetCreateError"
	EventScalingReplicaSet      = "ScalingReplicaSet"
	EventSkipSteps              = "SkipSteps"
	EventSwitchService          = "SwitchService"
	EventTrafficWeightUpdated   = "TrafficWeightUpdated"
	EventTrafficRoutingError    = "TrafficRoutingError"
	EventWeightVerifyError      = "WeightVerifyError"
	EventExperimentCreated      = "ExperimentCreated"
	EventReconciliationError    = "ReconciliationError"
	EventStepPluginTransition   = "StepPluginTransition"
	EventInvalidSpec            = "InvalidSpec"
	EventPluginWarning          = "PluginWarning"
)

// Prefixes of event reasons that end in a phase or status, as in
// "AnalysisRunSuccessful".
const (
	// EventPrefixAnalysisRun is used on the rollout, the run and the experiment.
	EventPrefixAnalysisRun = "AnalysisRun"
	// EventPrefixMetric is used on the run.
	EventPrefixMetric = "Metric"
	// EventPrefixExperiment is used on the experiment.
	EventPrefixExperiment = "Experiment"
	// EventPrefixTemplate is used on the experiment.
	EventPrefixTemplate = "Template"
)

// EventAnalysisRunTerminating is an event on an experiment.
const EventAnalysisRunTerminating = "AnalysisRunTerminating"
