package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AnalysisTemplate is a set of metrics that rollouts and experiments of its
// namespace measure.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=analysistemplates,shortName=at
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since resource was created"
type AnalysisTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec AnalysisTemplateSpec `json:"spec"`

	// Malformed lists the parts of the stored object that did not decode and
	// are empty here. It lives in memory only; nil means all of it decoded.
	Malformed []MalformedField `json:"-"`
}

// AnalysisTemplateList is a list of AnalysisTemplates.
//
// +kubebuilder:object:root=true
type AnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AnalysisTemplate `json:"items"`
}

// ClusterAnalysisTemplate is an AnalysisTemplate for all namespaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=clusteranalysistemplates,shortName=cat,scope=Cluster
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since resource was created"
type ClusterAnalysisTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec AnalysisTemplateSpec `json:"spec"`

	// Malformed lists the parts of the stored object that did not decode and
	// are empty here. It lives in memory only; nil means all of it decoded.
	Malformed []MalformedField `json:"-"`
}

// ClusterAnalysisTemplateList is a list of ClusterAnalysisTemplates.
//
// +kubebuilder:object:root=true
type ClusterAnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ClusterAnalysisTemplate `json:"items"`
}

// AnalysisTemplateSpec is what a template measures.
type AnalysisTemplateSpec struct {
	// Metrics are measured. They may be empty when Templates are not.
	Metrics []Metric `json:"metrics,omitempty"`
	// Args are the arguments the metrics use, with or without a default.
	Args []Argument `json:"args,omitempty"`
	// DryRun names metrics whose failure does not count.
	DryRun []DryRun `json:"dryRun,omitempty"`
	// MeasurementRetention keeps more measurements of some metrics.
	MeasurementRetention []MeasurementRetention `json:"measurementRetention,omitempty"`
	// Templates are templates whose metrics are measured as well.
	Templates []AnalysisTemplateRef `json:"templates,omitempty"`
}

// AnalysisTemplateRef names a template.
type AnalysisTemplateRef struct {
	TemplateName string `json:"templateName,omitempty"`
	// ClusterScope takes a ClusterAnalysisTemplate.
	ClusterScope bool `json:"clusterScope,omitempty"`
}

// AnalysisRun measures metrics once and judges them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=analysisruns,shortName=ar
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.phase",description="AnalysisRun status"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since resource was created"
type AnalysisRun struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   AnalysisRunSpec   `json:"spec"`
	Status AnalysisRunStatus `json:"status,omitzero"`

	// Malformed lists the parts of the stored object that did not decode and
	// are empty here. It lives in memory only; nil means all of it decoded.
	Malformed []MalformedField `json:"-"`
}

// AnalysisRunList is a list of AnalysisRuns.
//
// +kubebuilder:object:root=true
type AnalysisRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AnalysisRun `json:"items"`
}

// AnalysisRunSpec is what a run measures. It does not change, except Terminate.
type AnalysisRunSpec struct {
	// Metrics are measured, at least one.
	Metrics []Metric `json:"metrics,omitempty"`
	// Args are the arguments the metrics use, each with a value.
	Args []Argument `json:"args,omitempty"`
	// Terminate ends the run before it is done.
	Terminate bool `json:"terminate,omitempty"`
	// DryRun names metrics whose failure does not count.
	DryRun []DryRun `json:"dryRun,omitempty"`
	// MeasurementRetention keeps more measurements of some metrics.
	MeasurementRetention []MeasurementRetention `json:"measurementRetention,omitempty"`
	// TTLStrategy deletes the run some time after it is done. Nil means never.
	TTLStrategy *TTLStrategy `json:"ttlStrategy,omitempty"`
}

// TTLStrategy is how long a finished run is kept, in seconds. Nil fields set no
// limit.
type TTLStrategy struct {
	// SecondsAfterCompletion holds for every result without a limit of its own.
	SecondsAfterCompletion *int32 `json:"secondsAfterCompletion,omitempty"`
	SecondsAfterFailure    *int32 `json:"secondsAfterFailure,omitempty"`
	SecondsAfterSuccess    *int32 `json:"secondsAfterSuccess,omitempty"`
}

// Metric is measured and judged. Numbers are IntOrString so that they can be
// arguments ("{{args.count}}").
type Metric struct {
	// Name is unique in a run.
	//
	// +required
	Name string `json:"name"`
	// Interval is the time between measurements. Required if Count exceeds 1.
	Interval DurationString `json:"interval,omitempty"`
	// InitialDelay is the wait before the first measurement.
	InitialDelay DurationString `json:"initialDelay,omitempty"`
	// Count is how many measurements are made. Nil or 0 means one without
	// Interval, and no end with it.
	Count *intstr.IntOrString `json:"count,omitempty"`
	// SuccessCondition is an expression over result.
	SuccessCondition string `json:"successCondition,omitempty"`
	// FailureCondition is an expression over result.
	FailureCondition string `json:"failureCondition,omitempty"`
	// FailureLimit is how many failures are still tolerated. Nil means 0, −1
	// tolerates any number.
	FailureLimit *intstr.IntOrString `json:"failureLimit,omitempty"`
	// InconclusiveLimit is how many inconclusive measurements are still
	// tolerated. Nil means 0.
	InconclusiveLimit *intstr.IntOrString `json:"inconclusiveLimit,omitempty"`
	// ConsecutiveErrorLimit is how many errors in a row are still tolerated.
	// Nil means 4.
	ConsecutiveErrorLimit *intstr.IntOrString `json:"consecutiveErrorLimit,omitempty"`
	// ConsecutiveSuccessLimit is how many successes in a row end the metric
	// early. Nil or 0 means none do.
	ConsecutiveSuccessLimit *intstr.IntOrString `json:"consecutiveSuccessLimit,omitempty"`
	// RequireData makes a measurement without data inconclusive, whatever the
	// conditions say: null, an empty list or text, or not a number. Sluice's own.
	RequireData bool `json:"requireData,omitempty"`
	// Provider is where the measurement comes from.
	//
	// +required
	Provider MetricProvider `json:"provider"`
}

// DryRun names metrics whose failure does not count.
type DryRun struct {
	// MetricName is an unanchored regular expression.
	MetricName string `json:"metricName,omitempty"`
}

// MeasurementRetention keeps more than the usual 10 measurements.
type MeasurementRetention struct {
	// MetricName is an unanchored regular expression.
	MetricName string `json:"metricName,omitempty"`
	// Limit is how many are kept.
	Limit int32 `json:"limit,omitempty"`
}

// Argument is an argument of a template, a run or an experiment's analysis.
type Argument struct {
	// +required
	Name string `json:"name"`
	// Value is the value. Nil means that somebody else has to supply it.
	Value     *string    `json:"value,omitempty"`
	ValueFrom *ValueFrom `json:"valueFrom,omitempty"`
}

// ValueFrom takes an argument's value from elsewhere. Exactly one field is set.
type ValueFrom struct {
	// SecretKeyRef is read when the run measures. It wins over a value.
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
	// FieldRef is only supplied by rollouts; in a template it stays without a
	// value.
	FieldRef *FieldRef `json:"fieldRef,omitempty"`
}

// SecretKeyRef names a key of a Secret in the run's namespace.
type SecretKeyRef struct {
	Name string `json:"name,omitempty"`
	Key  string `json:"key,omitempty"`
}

// FieldRef names a field of the rollout.
type FieldRef struct {
	// FieldPath is read the way the downward API does below metadata, and as a
	// path into the rollout's JSON elsewhere.
	FieldPath string `json:"fieldPath,omitempty"`
}

// AnalysisRunStatus is what a run measured.
type AnalysisRunStatus struct {
	// Phase is the verdict. Empty for a run nobody has looked at.
	Phase AnalysisPhase `json:"phase,omitempty"`
	// Message says why.
	Message string `json:"message,omitempty"`
	// MetricResults has one entry per metric measured so far.
	MetricResults []MetricResult `json:"metricResults,omitempty"`
	// StartedAt is when the run began to measure.
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// CompletedAt is when it ended. Nil before.
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
	// RunSummary counts the metrics by result.
	RunSummary RunSummary `json:"runSummary,omitzero"`
	// DryRunSummary counts the dry-run metrics by result.
	DryRunSummary *RunSummary `json:"dryRunSummary,omitempty"`
}

// RunSummary counts metrics by result.
type RunSummary struct {
	Count        int32 `json:"count,omitempty"`
	Successful   int32 `json:"successful,omitempty"`
	Failed       int32 `json:"failed,omitempty"`
	Inconclusive int32 `json:"inconclusive,omitempty"`
	Error        int32 `json:"error,omitempty"`
}

// MetricResult is what one metric came to.
type MetricResult struct {
	Name  string        `json:"name,omitempty"`
	Phase AnalysisPhase `json:"phase,omitempty"`
	// Measurements are the latest ones, oldest first.
	Measurements []Measurement `json:"measurements,omitempty"`
	Message      string        `json:"message,omitempty"`
	// Count is the number of measurements made, without errors.
	Count        int32 `json:"count,omitempty"`
	Successful   int32 `json:"successful,omitempty"`
	Failed       int32 `json:"failed,omitempty"`
	Inconclusive int32 `json:"inconclusive,omitempty"`
	Error        int32 `json:"error,omitempty"`
	// ConsecutiveError is the number of errors at the end of the series.
	ConsecutiveError int32 `json:"consecutiveError,omitempty"`
	// ConsecutiveSuccess is the number of successes at the end of the series.
	ConsecutiveSuccess int32 `json:"consecutiveSuccess,omitempty"`
	DryRun             bool  `json:"dryRun,omitempty"`
	// Metadata is what the provider says about the metric.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Measurement is one measurement.
type Measurement struct {
	Phase      AnalysisPhase `json:"phase,omitempty"`
	Message    string        `json:"message,omitempty"`
	StartedAt  *metav1.Time  `json:"startedAt,omitempty"`
	FinishedAt *metav1.Time  `json:"finishedAt,omitempty"`
	// Value is what was measured, as text.
	Value string `json:"value,omitempty"`
	// Metadata is what the provider says about the measurement.
	Metadata map[string]string `json:"metadata,omitempty"`
	// ResumeAt is when to ask the provider again. Nil unless it takes longer.
	ResumeAt *metav1.Time `json:"resumeAt,omitempty"`
}

// RolloutAnalysis is an analysis a rollout runs.
type RolloutAnalysis struct {
	// Templates are flattened into one run.
	Templates []AnalysisTemplateRef `json:"templates,omitempty"`
	// Args are given to the templates.
	Args []AnalysisRunArgument `json:"args,omitempty"`
	// DryRun names metrics whose failure does not count.
	DryRun []DryRun `json:"dryRun,omitempty"`
	// MeasurementRetention keeps more measurements of some metrics.
	MeasurementRetention []MeasurementRetention `json:"measurementRetention,omitempty"`
	// AnalysisRunMetadata is put on the run.
	AnalysisRunMetadata AnalysisRunMetadata `json:"analysisRunMetadata,omitzero"`
}

// RolloutAnalysisBackground is an analysis that runs beside the steps.
type RolloutAnalysisBackground struct {
	RolloutAnalysis `json:",inline"`
	// StartingStep is the index of the step it starts at. Nil means 0.
	StartingStep *int32 `json:"startingStep,omitempty"`
}

// AnalysisRunArgument is an argument a rollout supplies.
type AnalysisRunArgument struct {
	// +required
	Name string `json:"name"`
	// Value is the value, unless ValueFrom is set.
	Value     string             `json:"value,omitempty"`
	ValueFrom *ArgumentValueFrom `json:"valueFrom,omitempty"`
}

// ArgumentValueFrom takes an argument's value from the rollout. Exactly one
// field is set.
type ArgumentValueFrom struct {
	// PodTemplateHashValue is the pod hash of a revision.
	PodTemplateHashValue *ValueFromPodTemplateHash `json:"podTemplateHashValue,omitempty"`
	// FieldRef is a field of the rollout.
	FieldRef *FieldRef `json:"fieldRef,omitempty"`
}

// ValueFromPodTemplateHash names a revision.
type ValueFromPodTemplateHash string

// Revisions an argument can name.
const (
	PodTemplateHashStable ValueFromPodTemplateHash = "Stable"
	PodTemplateHashLatest ValueFromPodTemplateHash = "Latest"
)

// AnalysisRunMetadata is metadata put on runs.
type AnalysisRunMetadata struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}
