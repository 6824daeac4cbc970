package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Rollout manages ReplicaSets of one pod template and moves traffic from the
// stable one to the new one step by step.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=rollouts,shortName=ro
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.HPAReplicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Desired",type="integer",JSONPath=".spec.replicas",description="Number of desired pods"
// +kubebuilder:printcolumn:name="Current",type="integer",JSONPath=".status.replicas",description="Total number of non-terminated pods targeted by this rollout"
// +kubebuilder:printcolumn:name="Up-to-date",type="integer",JSONPath=".status.updatedReplicas",description="Total number of non-terminated pods targeted by this rollout that have the desired template spec"
// +kubebuilder:printcolumn:name="Available",type="integer",JSONPath=".status.availableReplicas",description="Total number of available pods (ready for at least minReadySeconds) targeted by this rollout"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since resource was created"
type Rollout struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   RolloutSpec   `json:"spec"`
	Status RolloutStatus `json:"status,omitzero"`

	// Malformed lists the parts of the stored object that did not decode and
	// are empty here. It lives in memory only; nil means all of it decoded.
	Malformed []MalformedField `json:"-"`
}

// RolloutList is a list of Rollouts.
//
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Rollout `json:"items"`
}

// RolloutSpec is the desired state of a Rollout.
type RolloutSpec struct {
	// TemplateResolvedFromRef says that Template was copied from WorkloadRef by
	// the controller. It lives in memory only: while it is true, Template is
	// left out of the JSON, so that a resolved template is never persisted.
	TemplateResolvedFromRef bool `json:"-"`
	// SelectorResolvedFromRef is TemplateResolvedFromRef for Selector.
	SelectorResolvedFromRef bool `json:"-"`

	// Replicas is the number of pods wanted. Nil means 1; the controller writes
	// the 1 down, because an autoscaler needs a value.
	Replicas *int32 `json:"replicas,omitempty"`
	// Selector selects the pods and cannot be changed. It is required, and must
	// not be empty, unless WorkloadRef is set.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.selector is immutable"
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Template is the pod template. The schema does not look into it. It must
	// be empty when WorkloadRef is set.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Template corev1.PodTemplateSpec `json:"template,omitzero"`
	// WorkloadRef names a workload to take the pod template from.
	WorkloadRef *ObjectRef `json:"workloadRef,omitempty"`
	// MinReadySeconds is how long a new pod has to be ready, without a
	// container crashing, before it counts as available. 0 means at once.
	MinReadySeconds int32 `json:"minReadySeconds,omitempty"`
	// RollbackWindow lets a rollback to a recent revision skip the steps.
	RollbackWindow *RollbackWindowSpec `json:"rollbackWindow,omitempty"`
	// Strategy is how a new template replaces the old one.
	Strategy RolloutStrategy `json:"strategy,omitzero"`
	// RevisionHistoryLimit is how many old ReplicaSets are kept. Nil means 10.
	RevisionHistoryLimit *int32 `json:"revisionHistoryLimit,omitempty"`
	// Paused stops the rollout by hand: no scaling, no Service switches, no
	// step completes. Traffic weights are still kept where they are.
	Paused bool `json:"paused,omitempty"`
	// ProgressDeadlineSeconds is how long the rollout may go without progress
	// before it is reported as timed out. Nil means 600. It has to be larger
	// than MinReadySeconds.
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`
	// ProgressDeadlineAbort turns a missed deadline into an abort.
	ProgressDeadlineAbort bool `json:"progressDeadlineAbort,omitempty"`
	// RestartAt asks for pods created before this time to be evicted and
	// replaced. Nil means no restart; a time in the future waits for it.
	RestartAt *metav1.Time `json:"restartAt,omitempty"`
	// Analysis limits the AnalysisRuns and Experiments kept as history.
	Analysis *AnalysisRunStrategy `json:"analysis,omitempty"`
}

// ObjectRef names a workload in the namespace of the rollout: a core
// PodTemplate, or an apps Deployment or ReplicaSet.
type ObjectRef struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Name       string `json:"name,omitempty"`
	// ScaleDown says when the referenced Deployment is scaled to 0: one of the
	// ScaleDown constants, case-sensitive. Empty means never.
	ScaleDown string `json:"scaleDown,omitempty"`
}

// Values of ObjectRef.ScaleDown.
const (
	// ScaleDownNever leaves the referenced workload running.
	ScaleDownNever = "never"
	// ScaleDownOnSuccess scales it to 0 once the rollout is healthy.
	ScaleDownOnSuccess = "onsuccess"
	// ScaleDownProgressively scales it down as the rollout's pods become ready.
	ScaleDownProgressively = "progressively"
)

// RollbackWindowSpec is the rollback window.
type RollbackWindowSpec struct {
	// Revisions is how many revisions back a rollback may go and still skip the
	// steps. 0 means no window.
	Revisions int32 `json:"revisions,omitempty"`
}

// AnalysisRunStrategy limits finished AnalysisRuns and Experiments.
type AnalysisRunStrategy struct {
	// SuccessfulRunHistoryLimit is how many successful ones are kept. Nil means 5.
	SuccessfulRunHistoryLimit *int32 `json:"successfulRunHistoryLimit,omitempty"`
	// UnsuccessfulRunHistoryLimit is how many others are kept. Nil means 5.
	UnsuccessfulRunHistoryLimit *int32 `json:"unsuccessfulRunHistoryLimit,omitempty"`
}

// RolloutStrategy holds the strategy. Exactly one field is set.
type RolloutStrategy struct {
	BlueGreen *BlueGreenStrategy `json:"blueGreen,omitempty"`
	Canary    *CanaryStrategy    `json:"canary,omitempty"`
}

// AntiAffinity keeps pods of the old and the new revision on different nodes.
// Exactly one field is set.
type AntiAffinity struct {
	PreferredDuringSchedulingIgnoredDuringExecution *PreferredDuringSchedulingIgnoredDuringExecution `json:"preferredDuringSchedulingIgnoredDuringExecution,omitempty"`
	RequiredDuringSchedulingIgnoredDuringExecution  *RequiredDuringSchedulingIgnoredDuringExecution  `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// PreferredDuringSchedulingIgnoredDuringExecution asks for the separation.
type PreferredDuringSchedulingIgnoredDuringExecution struct {
	// Weight is the scheduler's weight of the wish, 1 to 100.
	Weight int32 `json:"weight,omitempty"`
}

// RequiredDuringSchedulingIgnoredDuringExecution insists on the separation.
type RequiredDuringSchedulingIgnoredDuringExecution struct{}

// PodTemplateMetadata is metadata put on ReplicaSets and pods while they have a
// role, and taken off when the role changes.
type PodTemplateMetadata struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}
