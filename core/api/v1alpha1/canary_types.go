package v1alpha1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// CanaryStrategy replaces the stable revision in steps.
type CanaryStrategy struct {
	// CanaryService selects the new revision. Required by most routers.
	CanaryService string `json:"canaryService,omitempty"`
	// StableService selects the stable revision. Required by most routers.
	StableService string `json:"stableService,omitempty"`
	// Steps are done in order on every update. Empty means a rolling update.
	Steps []CanaryStep `json:"steps,omitempty"`
	// TrafficRouting hands the weights to routers. Nil means that weights are
	// approximated by pod counts; an empty block is not nil.
	TrafficRouting *RolloutTrafficRouting `json:"trafficRouting,omitempty"`
	// MaxUnavailable is how many pods may be missing, as a count or a percent.
	// A string is a percent with or without the sign. Nil means 25 %.
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// MaxSurge is how many pods may exist beyond spec.replicas. Read like
	// MaxUnavailable; the two cannot both be 0.
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`
	// Analysis runs in the background during the update.
	Analysis *RolloutAnalysisBackground `json:"analysis,omitempty"`
	// AntiAffinity keeps old and new pods on different nodes.
	AntiAffinity *AntiAffinity `json:"antiAffinity,omitempty"`
	// CanaryMetadata is put on the pods of the new revision during an update.
	CanaryMetadata *PodTemplateMetadata `json:"canaryMetadata,omitempty"`
	// StableMetadata is put on the pods of the stable revision.
	StableMetadata *PodTemplateMetadata `json:"stableMetadata,omitempty"`
	// ScaleDownDelaySeconds is how long the old revision runs on after the
	// update. Nil means 30 with TrafficRouting. Not allowed without
	// TrafficRouting, nor together with DynamicStableScale.
	ScaleDownDelaySeconds *int32 `json:"scaleDownDelaySeconds,omitempty"`
	// ScaleDownDelayRevisionLimit is how many old revisions may be up at once.
	// Nil means no limit.
	ScaleDownDelayRevisionLimit *int32 `json:"scaleDownDelayRevisionLimit,omitempty"`
	// AbortScaleDownDelaySeconds is how long an aborted canary runs on. Nil
	// means 30 with TrafficRouting and not at all without; an explicit 0 means
	// it is never scaled down.
	AbortScaleDownDelaySeconds *int32 `json:"abortScaleDownDelaySeconds,omitempty"`
	// DynamicStableScale shrinks the stable revision as traffic leaves it.
	// Only with TrafficRouting.
	DynamicStableScale bool `json:"dynamicStableScale,omitempty"`
	// PingPong lets two Services take turns at being the stable one.
	PingPong *PingPongSpec `json:"pingPong,omitempty"`
	// MinPodsPerReplicaSet is the least a ReplicaSet that takes traffic is
	// scaled to, at most spec.replicas. Only with TrafficRouting. Nil means no
	// minimum.
	MinPodsPerReplicaSet *int32 `json:"minPodsPerReplicaSet,omitempty"`
	// ReplicaProgressThreshold lets a step complete before all pods are
	// available. Nil means all of them have to be.
	ReplicaProgressThreshold *ReplicaProgressThreshold `json:"replicaProgressThreshold,omitempty"`
}

// PingPongSpec names the two Services. Both are required and differ.
type PingPongSpec struct {
	PingService string `json:"pingService,omitempty"`
	PongService string `json:"pongService,omitempty"`
}

// ReplicaProgressThreshold is how many pods of the canary have to be available
// for a step to complete.
type ReplicaProgressThreshold struct {
	// Type says what Value counts.
	Type ReplicaProgressThresholdType `json:"type,omitempty"`
	// Value is a percent of the wanted pods or a number of pods.
	Value int32 `json:"value,omitempty"`
}

// ReplicaProgressThresholdType is the unit of a ReplicaProgressThreshold.
type ReplicaProgressThresholdType string

// Units of a ReplicaProgressThreshold.
const (
	ReplicaProgressThresholdPercent ReplicaProgressThresholdType = "Percent"
	ReplicaProgressThresholdPods    ReplicaProgressThresholdType = "Pods"
)

// CanaryStep is one step. Exactly one field is set.
type CanaryStep struct {
	// SetWeight sends this share of the traffic to the canary, out of
	// TrafficRouting.MaxTrafficWeight.
	SetWeight *int32 `json:"setWeight,omitempty"`
	// Pause waits for a time or for a user.
	Pause *RolloutPause `json:"pause,omitempty"`
	// Experiment runs an Experiment and waits for it to succeed.
	Experiment *RolloutExperimentStep `json:"experiment,omitempty"`
	// Analysis runs an AnalysisRun and waits for it to succeed.
	Analysis *RolloutAnalysis `json:"analysis,omitempty"`
	// SetCanaryScale sizes the canary apart from its weight. Only with
	// TrafficRouting.
	SetCanaryScale *SetCanaryScale `json:"setCanaryScale,omitempty"`
	// SetHeaderRoute sends requests with matching headers to the canary.
	SetHeaderRoute *SetHeaderRoute `json:"setHeaderRoute,omitempty"`
	// SetMirrorRoute copies matching requests to the canary.
	SetMirrorRoute *SetMirrorRoute `json:"setMirrorRoute,omitempty"`
	// Plugin runs a step plugin and waits for it to succeed.
	Plugin *PluginStep `json:"plugin,omitempty"`
}

// PluginStep is a step done by a plugin.
type PluginStep struct {
	// Name is the plugin's name, "namespace/name".
	Name string `json:"name,omitempty"`
	// Config is passed to the plugin as it is.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Config json.RawMessage `json:"config,omitempty"`
}

// RolloutPause waits.
type RolloutPause struct {
	// Duration is a number of seconds, or a string that is a number of seconds
	// or a Go duration such as "1h30m". Nil means until a user promotes.
	// DurationSeconds reads it.
	Duration *intstr.IntOrString `json:"duration,omitempty"`
}

// SetCanaryScale sizes the canary. Replicas wins over Weight.
type SetCanaryScale struct {
	// Weight is a percent of spec.replicas, and may exceed 100.
	Weight *int32 `json:"weight,omitempty"`
	// Replicas is a number of pods.
	Replicas *int32 `json:"replicas,omitempty"`
	// MatchTrafficWeight ends an earlier SetCanaryScale: the canary is sized by
	// its weight again.
	MatchTrafficWeight bool `json:"matchTrafficWeight,omitempty"`
}

// SetHeaderRoute routes requests by header.
type SetHeaderRoute struct {
	// Name is the route's name; it has to be listed in ManagedRoutes.
	Name string `json:"name,omitempty"`
	// Match lists the headers. Empty removes the route.
	Match []HeaderRoutingMatch `json:"match,omitempty"`
}

// HeaderRoutingMatch matches one header.
type HeaderRoutingMatch struct {
	HeaderName  string       `json:"headerName,omitempty"`
	HeaderValue *StringMatch `json:"headerValue,omitempty"`
}

// SetMirrorRoute copies requests.
type SetMirrorRoute struct {
	// Name is the route's name; it has to be listed in ManagedRoutes.
	Name string `json:"name,omitempty"`
	// Match lists alternatives; a request matches if one of them does. Empty
	// removes the route.
	Match []RouteMatch `json:"match,omitempty"`
	// Percentage of the matching requests that is copied. Nil means 100.
	Percentage *int32 `json:"percentage,omitempty"`
}

// RouteMatch matches a request. The fields that are set all have to match.
type RouteMatch struct {
	Method *StringMatch `json:"method,omitempty"`
	Path   *StringMatch `json:"path,omitempty"`
	// Headers maps a header's name to what its value has to match.
	Headers map[string]StringMatch `json:"headers,omitempty"`
}

// StringMatch matches a string. Exactly one field is set.
type StringMatch struct {
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"`
}

// RolloutExperimentStep is an Experiment run as a step.
type RolloutExperimentStep struct {
	// Templates are the revisions to start.
	Templates []RolloutExperimentTemplate `json:"templates,omitempty"`
	// Duration ends the experiment after this time. Empty means when its
	// analyses end.
	Duration DurationString `json:"duration,omitempty"`
	// Analyses are run during the experiment.
	Analyses []RolloutExperimentStepAnalysisTemplateRef `json:"analyses,omitempty"`
	// DryRun names metrics whose failure does not count.
	DryRun []DryRun `json:"dryRun,omitempty"`
	// AnalysisRunMetadata is put on the AnalysisRuns of the experiment.
	AnalysisRunMetadata AnalysisRunMetadata `json:"analysisRunMetadata,omitzero"`
	// ScaleDownDelaySeconds is how long the experiment's pods run on after it.
	// Nil means 30.
	ScaleDownDelaySeconds *int32 `json:"scaleDownDelaySeconds,omitempty"`
}

// RolloutExperimentTemplate is one revision of an experiment step.
type RolloutExperimentTemplate struct {
	// Name is unique in the step.
	Name string `json:"name,omitempty"`
	// SpecRef says which revision's pod template is used.
	SpecRef ReplicaSetSpecRef `json:"specRef,omitempty"`
	// Replicas is the number of pods. Nil means 1.
	Replicas *int32 `json:"replicas,omitempty"`
	// Metadata is added to the pod template, labels also to the selector.
	Metadata PodTemplateMetadata `json:"metadata,omitzero"`
	// Selector replaces the rollout's selector. Nil means it is kept.
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Weight is the share of traffic for these pods. Nil means none. Only with
	// TrafficRouting.
	Weight *int32 `json:"weight,omitempty"`
	// Service asks for a Service of its own. Nil means only if Weight is set.
	Service *TemplateService `json:"service,omitempty"`
}

// ReplicaSetSpecRef names a revision of the rollout.
type ReplicaSetSpecRef string

// Revisions an experiment template can use.
const (
	CanarySpecRef ReplicaSetSpecRef = "canary"
	StableSpecRef ReplicaSetSpecRef = "stable"
)

// RolloutExperimentStepAnalysisTemplateRef is one analysis of an experiment
// step.
type RolloutExperimentStepAnalysisTemplateRef struct {
	// Name is unique in the step.
	Name string `json:"name,omitempty"`
	// TemplateName is the AnalysisTemplate's name.
	TemplateName string `json:"templateName,omitempty"`
	// ClusterScope takes a ClusterAnalysisTemplate instead.
	ClusterScope bool `json:"clusterScope,omitempty"`
	// Args are given to the template.
	Args []AnalysisRunArgument `json:"args,omitempty"`
	// RequiredForCompletion makes the experiment wait for this analysis.
	RequiredForCompletion bool `json:"requiredForCompletion,omitempty"`
}
