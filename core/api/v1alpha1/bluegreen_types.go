package v1alpha1

import "k8s.io/apimachinery/pkg/util/intstr"

// BlueGreenStrategy starts the new revision beside the old one and switches a
// Service from one to the other.
type BlueGreenStrategy struct {
	// ActiveService is the Service users reach. It has to exist and to differ
	// from PreviewService.
	//
	// +required
	ActiveService string `json:"activeService"`
	// PreviewService reaches the new revision before the switch. Empty means
	// there is none.
	PreviewService string `json:"previewService,omitempty"`
	// PreviewReplicaCount is the size of the new revision before the switch.
	// Nil means the full size.
	PreviewReplicaCount *int32 `json:"previewReplicaCount,omitempty"`
	// AutoPromotionEnabled switches without asking. Nil means true.
	AutoPromotionEnabled *bool `json:"autoPromotionEnabled,omitempty"`
	// AutoPromotionSeconds waits this long before switching by itself. 0 means
	// no wait. Ignored when AutoPromotionEnabled is false.
	AutoPromotionSeconds int32 `json:"autoPromotionSeconds,omitempty"`
	// MaxUnavailable is used by restarts only. Nil means 25 %.
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// ScaleDownDelaySeconds is how long the old revision runs on after the
	// switch. Nil means 30, 0 means not at all.
	ScaleDownDelaySeconds *int32 `json:"scaleDownDelaySeconds,omitempty"`
	// ScaleDownDelayRevisionLimit is how many old revisions may be up at once.
	// Nil means no limit.
	ScaleDownDelayRevisionLimit *int32 `json:"scaleDownDelayRevisionLimit,omitempty"`
	// PrePromotionAnalysis has to succeed before the switch.
	PrePromotionAnalysis *RolloutAnalysis `json:"prePromotionAnalysis,omitempty"`
	// PostPromotionAnalysis has to succeed after the switch; otherwise the
	// rollout switches back.
	PostPromotionAnalysis *RolloutAnalysis `json:"postPromotionAnalysis,omitempty"`
	// AntiAffinity keeps old and new pods on different nodes.
	AntiAffinity *AntiAffinity `json:"antiAffinity,omitempty"`
	// PreviewMetadata is put on the pods of the preview revision.
	PreviewMetadata *PodTemplateMetadata `json:"previewMetadata,omitempty"`
	// ActiveMetadata is put on the pods of the active revision.
	ActiveMetadata *PodTemplateMetadata `json:"activeMetadata,omitempty"`
	// AbortScaleDownDelaySeconds is how long an aborted preview runs on. Nil
	// means 30; an explicit 0 means it is never scaled down.
	AbortScaleDownDelaySeconds *int32 `json:"abortScaleDownDelaySeconds,omitempty"`
}
