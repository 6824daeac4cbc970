package v1alpha1

// Labels.
const (
	// LabelPodTemplateHash identifies a revision: on its ReplicaSet, pods,
	// AnalysisRuns and Experiments, and in the selector of a Service.
	LabelPodTemplateHash = "rollouts-pod-template-hash"
	// LabelInstanceID names the controller instance an object belongs to.
	LabelInstanceID = "argo-rollouts.argoproj.io/controller-instance-id"
	// LabelRolloutType says what a rollout's AnalysisRun is for: one of the
	// RolloutType constants.
	LabelRolloutType = "rollout-type"
	// LabelStepIndex is the index of the step an AnalysisRun belongs to.
	LabelStepIndex = "step-index"
	// LabelAnalysisRunUID ties a Job and its pods to an AnalysisRun.
	LabelAnalysisRunUID = "analysisrun.argoproj.io/uid"
	// LabelIstioPrimaryCluster, "true", marks a Secret with the kubeconfig of
	// an Istio primary cluster.
	LabelIstioPrimaryCluster = "istio.argoproj.io/primary-cluster"
	// LabelGatewayAPICanary marks Gateway API routes while a canary has weight.
	LabelGatewayAPICanary = "rollouts.argoproj.io/gatewayapi-canary"
)

// Values of LabelRolloutType.
const (
	RolloutTypeStep          = "Step"
	RolloutTypeBackground    = "Background"
	RolloutTypePrePromotion  = "PrePromotion"
	RolloutTypePostPromotion = "PostPromotion"
)

// ValueInProgress is the value of LabelGatewayAPICanary.
const ValueInProgress = "in-progress"

// Annotations.
const (
	// AnnotationScaleDownDeadline, on a ReplicaSet, is the RFC 3339 UTC time at
	// which it is scaled to 0.
	AnnotationScaleDownDeadline = "scale-down-deadline"
	// AnnotationManagedBy, on a Service or a router's object, is the name of
	// the rollout that owns it.
	AnnotationManagedBy = "argo-rollouts.argoproj.io/managed-by-rollouts"
	// AnnotationRevision is a decimal number that grows with each revision.
	AnnotationRevision = "rollout.argoproj.io/revision"
	// AnnotationRevisionHistory, on a ReplicaSet, lists its earlier revisions.
	AnnotationRevisionHistory = "rollout.argoproj.io/revision-history"
	// AnnotationDesiredReplicas, on a ReplicaSet, is spec.replicas of the
	// rollout at its last scaling.
	AnnotationDesiredReplicas = "rollout.argoproj.io/desired-replicas"
	// AnnotationWorkloadGeneration, on a rollout, is the generation of the
	// referenced workload.
	AnnotationWorkloadGeneration = "rollout.argoproj.io/workload-generation"
	// AnnotationEphemeralMetadata, on a ReplicaSet, is the JSON of the metadata
	// last put on its pods.
	AnnotationEphemeralMetadata = "rollout.argoproj.io/ephemeral-metadata"
	// AnnotationNotified, on a rollout, is the state of notifications. It is
	// not copied to ReplicaSets.
	AnnotationNotified = "notified.notifications.argoproj.io"
	// AnnotationExperimentName, on a ReplicaSet or Service, is its experiment.
	AnnotationExperimentName = "experiment.argoproj.io/name"
	// AnnotationExperimentTemplateName, on a ReplicaSet or Service, is the
	// template of the experiment.
	AnnotationExperimentTemplateName = "experiment.argoproj.io/template-name"
	// AnnotationAnalysisRunName, on a Job, is its AnalysisRun.
	AnnotationAnalysisRunName = "analysisrun.argoproj.io/name"
	// AnnotationAnalysisRunNamespace, on a Job, is its AnalysisRun's namespace.
	AnnotationAnalysisRunNamespace = "analysisrun.argoproj.io/namespace"
	// AnnotationMetricName, on a Job, is the metric it measures.
	AnnotationMetricName = "analysisrun.argoproj.io/metric-name"
	// AnnotationManagedALB, on an Ingress, lists the annotations that belong to
	// rollouts.
	AnnotationManagedALB = "rollouts.argoproj.io/managed-alb-annotations"
)
