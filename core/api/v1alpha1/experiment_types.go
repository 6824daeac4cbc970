package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Experiment runs pod templates side by side and analyses them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=experiments,shortName=exp
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.phase",description="Experiment status"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since resource was created"
type Experiment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   ExperimentSpec   `json:"spec"`
	Status ExperimentStatus `json:"status,omitzero"`

	// Malformed lists the parts of the stored object that did not decode and
	// are empty here. It lives in memory only; nil means all of it decoded.
	Malformed []MalformedField `json:"-"`
}

// ExperimentList is a list of Experiments.
//
// +kubebuilder:object:root=true
type ExperimentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Experiment `json:"items"`
}

// ExperimentSpec is what an experiment runs.
type ExperimentSpec struct {
	// Templates are started, one ReplicaSet each.
	Templates []TemplateSpec `json:"templates,omitempty"`
	// Duration ends the experiment this long after all templates became
	// available. Empty means when its analyses end or Terminate is set.
	Duration DurationString `json:"duration,omitempty"`
	// ProgressDeadlineSeconds is how long a template may take to become
	// available. Nil means 600.
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`
	// Terminate ends the experiment.
	Terminate bool `json:"terminate,omitempty"`
	// Analyses are run once all templates are available.
	Analyses []ExperimentAnalysisTemplateRef `json:"analyses,omitempty"`
	// ScaleDownDelaySeconds is how long the pods run on afterwards. Nil means 30.
	ScaleDownDelaySeconds *int32 `json:"scaleDownDelaySeconds,omitempty"`
	// DryRun names metrics whose failure does not count.
	DryRun []DryRun `json:"dryRun,omitempty"`
	// MeasurementRetention keeps more measurements of some metrics.
	MeasurementRetention []MeasurementRetention `json:"measurementRetention,omitempty"`
	// AnalysisRunMetadata is put on the AnalysisRuns.
	AnalysisRunMetadata AnalysisRunMetadata `json:"analysisRunMetadata,omitzero"`
}

// TemplateSpec is one pod template of an experiment.
type TemplateSpec struct {
	// Name is unique in the experiment.
	//
	// +required
	Name string `json:"name"`
	// Replicas is the number of pods. Nil means 1.
	Replicas *int32 `json:"replicas,omitempty"`
	// MinReadySeconds is how long a pod has to be ready before it counts as
	// available. 0 means at once.
	MinReadySeconds int32 `json:"minReadySeconds,omitempty"`
	// Selector selects the pods. It is required and must not be empty.
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Template is the pod template. The schema does not look into it.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Template corev1.PodTemplateSpec `json:"template,omitzero"`
	// Service asks for a Service for the pods. Nil means none.
	Service *TemplateService `json:"service,omitempty"`
}

// TemplateService is the Service of an experiment's template.
type TemplateService struct {
	// Name is the Service's name. Empty means the ReplicaSet's.
	Name string `json:"name,omitempty"`
}

// ExperimentAnalysisTemplateRef is one analysis of an experiment.
type ExperimentAnalysisTemplateRef struct {
	// Name is unique in the experiment.
	Name string `json:"name,omitempty"`
	// TemplateName is the AnalysisTemplate's name.
	TemplateName string `json:"templateName,omitempty"`
	// ClusterScope takes a ClusterAnalysisTemplate instead.
	ClusterScope bool `json:"clusterScope,omitempty"`
	// Args are given to the template.
	Args []Argument `json:"args,omitempty"`
	// RequiredForCompletion makes the experiment wait for this analysis.
	RequiredForCompletion bool `json:"requiredForCompletion,omitempty"`
}

// ExperimentStatus is what an experiment has come to.
type ExperimentStatus struct {
	// Phase is the verdict. Empty for an experiment nobody has looked at.
	Phase AnalysisPhase `json:"phase,omitempty"`
	// Message says why.
	Message string `json:"message,omitempty"`
	// AvailableAt is when all templates had become available. Nil before.
	AvailableAt *metav1.Time `json:"availableAt,omitempty"`
	// TemplateStatuses has one entry per template.
	TemplateStatuses []TemplateStatus `json:"templateStatuses,omitempty"`
	// Conditions are the conditions, at most one of each type.
	Conditions []ExperimentCondition `json:"conditions,omitempty"`
	// AnalysisRuns has one entry per analysis.
	AnalysisRuns []ExperimentAnalysisRunStatus `json:"analysisRuns,omitempty"`
}

// TemplateStatus is the state of one template.
type TemplateStatus struct {
	Name              string `json:"name,omitempty"`
	Replicas          int32  `json:"replicas"`
	UpdatedReplicas   int32  `json:"updatedReplicas"`
	ReadyReplicas     int32  `json:"readyReplicas"`
	AvailableReplicas int32  `json:"availableReplicas"`
	// CollisionCount changes the ReplicaSet's hash when its name is taken.
	CollisionCount *int32 `json:"collisionCount,omitempty"`
	// Status is what the template has come to.
	Status  TemplateStatusCode `json:"status,omitempty"`
	Message string             `json:"message,omitempty"`
	// LastTransitionTime is when Status last changed.
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
	// ServiceName is the name of its Service. Empty without one.
	ServiceName string `json:"serviceName,omitempty"`
	// PodTemplateHash identifies its pods.
	PodTemplateHash string `json:"podTemplateHash,omitempty"`
}

// TemplateStatusCode is what a template has come to.
type TemplateStatusCode string

// States of a template, from best to worst.
const (
	TemplateStatusSuccessful  TemplateStatusCode = "Successful"
	TemplateStatusRunning     TemplateStatusCode = "Running"
	TemplateStatusProgressing TemplateStatusCode = "Progressing"
	TemplateStatusError       TemplateStatusCode = "Error"
	TemplateStatusFailed      TemplateStatusCode = "Failed"
)

// Completed reports whether the state is final.
func (c TemplateStatusCode) Completed() bool {
	switch c {
	case TemplateStatusSuccessful, TemplateStatusError, TemplateStatusFailed:
		return true
	}
	return false
}

// ExperimentCondition is one condition.
type ExperimentCondition struct {
	Type   ExperimentConditionType `json:"type,omitempty"`
	Status corev1.ConditionStatus  `json:"status,omitempty"`
	// LastUpdateTime is when the condition was last set, changed or not.
	LastUpdateTime metav1.Time `json:"lastUpdateTime,omitzero"`
	// LastTransitionTime is when Status last changed.
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
	Reason             string      `json:"reason,omitempty"`
	Message            string      `json:"message,omitempty"`
}

// ExperimentAnalysisRunStatus is an AnalysisRun as its experiment sees it.
type ExperimentAnalysisRunStatus struct {
	// Name is the analysis' name in the experiment.
	Name string `json:"name,omitempty"`
	// AnalysisRun is the AnalysisRun's name.
	AnalysisRun string        `json:"analysisRun,omitempty"`
	Phase       AnalysisPhase `json:"phase,omitempty"`
	Message     string        `json:"message,omitempty"`
}
