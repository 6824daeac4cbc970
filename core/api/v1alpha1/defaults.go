package v1alpha1

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// What absent fields mean. The values are those Argo Rollouts documents (or, for
// maxSurge and maxUnavailable, what its undocumented string "25" amounts to);
// the schema sets none of them, so that an object is stored as it was written.
const (
	DefaultReplicas                    int32 = 1
	DefaultRevisionHistoryLimit        int32 = 10
	DefaultProgressDeadlineSeconds     int32 = 600
	DefaultRunHistoryLimit             int32 = 5
	DefaultScaleDownDelaySeconds       int32 = 30
	DefaultAbortScaleDownDelaySeconds  int32 = 30
	DefaultScaleDownDelayRevisionLimit int32 = math.MaxInt32
	DefaultMaxTrafficWeight            int32 = 100
	DefaultMirrorPercentage            int32 = 100
	DefaultMaxSurge                          = "25%"
	DefaultMaxUnavailable                    = "25%"

	DefaultFailureLimit            int32 = 0
	DefaultInconclusiveLimit       int32 = 0
	DefaultConsecutiveErrorLimit   int32 = 4
	DefaultConsecutiveSuccessLimit int32 = 0
	DefaultMeasurementRetention    int32 = 10
)

// ReplicasOrDefault is the number of pods wanted: spec.replicas, or 1.
func (s *RolloutSpec) ReplicasOrDefault() int32 {
	return valueOr(s.Replicas, DefaultReplicas)
}

// RevisionHistoryLimitOrDefault is how many old ReplicaSets are kept:
// spec.revisionHistoryLimit, or 10.
func (s *RolloutSpec) RevisionHistoryLimitOrDefault() int32 {
	return valueOr(s.RevisionHistoryLimit, DefaultRevisionHistoryLimit)
}

// ProgressDeadlineSecondsOrDefault is spec.progressDeadlineSeconds, or 600.
func (s *RolloutSpec) ProgressDeadlineSecondsOrDefault() int32 {
	return valueOr(s.ProgressDeadlineSeconds, DefaultProgressDeadlineSeconds)
}

// SuccessfulRunHistoryLimitOrDefault is how many successful AnalysisRuns and
// Experiments are kept: the field of spec.analysis, or 5.
func (s *RolloutSpec) SuccessfulRunHistoryLimitOrDefault() int32 {
	if s.Analysis == nil {
		return DefaultRunHistoryLimit
	}
	return valueOr(s.Analysis.SuccessfulRunHistoryLimit, DefaultRunHistoryLimit)
}

// UnsuccessfulRunHistoryLimitOrDefault is how many other finished AnalysisRuns
// and Experiments are kept: the field of spec.analysis, or 5.
func (s *RolloutSpec) UnsuccessfulRunHistoryLimitOrDefault() int32 {
	if s.Analysis == nil {
		return DefaultRunHistoryLimit
	}
	return valueOr(s.Analysis.UnsuccessfulRunHistoryLimit, DefaultRunHistoryLimit)
}

// MaxSurgeOrDefault is maxSurge, or 25 %. A string is a percent with or without
// the sign; intstr.GetScaledValueFromIntOrPercent accepts only the sign.
func (c *CanaryStrategy) MaxSurgeOrDefault() intstr.IntOrString {
	return valueOr(c.MaxSurge, intstr.FromString(DefaultMaxSurge))
}

// MaxUnavailableOrDefault is maxUnavailable, or 25 %. It is read like
// MaxSurgeOrDefault.
func (c *CanaryStrategy) MaxUnavailableOrDefault() intstr.IntOrString {
	return valueOr(c.MaxUnavailable, intstr.FromString(DefaultMaxUnavailable))
}

// ScaleDownDelay is how long the old revision runs on after an update:
// scaleDownDelaySeconds, or 30 s with traffic routing. It is 0 without traffic
// routing, where the field is not allowed.
func (c *CanaryStrategy) ScaleDownDelay() time.Duration {
	if c.TrafficRouting == nil {
		return 0
	}
	return seconds(valueOr(c.ScaleDownDelaySeconds, DefaultScaleDownDelaySeconds))
}

// AbortScaleDownDelay is how long an aborted canary runs on:
// abortScaleDownDelaySeconds, or 30 s with traffic routing and 0 without.
// Never is true for an explicit 0, which keeps the canary for good.
func (c *CanaryStrategy) AbortScaleDownDelay() (delay time.Duration, never bool) {
	if c.AbortScaleDownDelaySeconds == nil && c.TrafficRouting == nil {
		return 0, false
	}
	return abortDelay(c.AbortScaleDownDelaySeconds)
}

// ScaleDownDelayRevisionLimitOrDefault is how many old revisions may be up at
// once: scaleDownDelayRevisionLimit, or MaxInt32.
func (c *CanaryStrategy) ScaleDownDelayRevisionLimitOrDefault() int32 {
	return valueOr(c.ScaleDownDelayRevisionLimit, DefaultScaleDownDelayRevisionLimit)
}

// MaxTrafficWeightOrDefault is what the weights add up to:
// trafficRouting.maxTrafficWeight, or 100. It may be called without traffic
// routing.
func (c *CanaryStrategy) MaxTrafficWeightOrDefault() int32 {
	if c.TrafficRouting == nil {
		return DefaultMaxTrafficWeight
	}
	return valueOr(c.TrafficRouting.MaxTrafficWeight, DefaultMaxTrafficWeight)
}

// MaxUnavailableOrDefault is maxUnavailable, or 25 %. It is read like
// CanaryStrategy.MaxSurgeOrDefault.
func (b *BlueGreenStrategy) MaxUnavailableOrDefault() intstr.IntOrString {
	return valueOr(b.MaxUnavailable, intstr.FromString(DefaultMaxUnavailable))
}

// AutoPromotionEnabledOrDefault is autoPromotionEnabled, or true.
func (b *BlueGreenStrategy) AutoPromotionEnabledOrDefault() bool {
	return valueOr(b.AutoPromotionEnabled, true)
}

// ScaleDownDelay is how long the old revision runs on after the switch:
// scaleDownDelaySeconds, or 30 s.
func (b *BlueGreenStrategy) ScaleDownDelay() time.Duration {
	return seconds(valueOr(b.ScaleDownDelaySeconds, DefaultScaleDownDelaySeconds))
}

// AbortScaleDownDelay is how long an aborted preview runs on:
// abortScaleDownDelaySeconds, or 30 s. Never is true for an explicit 0, which
// keeps the preview for good.
func (b *BlueGreenStrategy) AbortScaleDownDelay() (delay time.Duration, never bool) {
	return abortDelay(b.AbortScaleDownDelaySeconds)
}

// ScaleDownDelayRevisionLimitOrDefault is how many old revisions may be up at
// once: scaleDownDelayRevisionLimit, or MaxInt32.
func (b *BlueGreenStrategy) ScaleDownDelayRevisionLimitOrDefault() int32 {
	return valueOr(b.ScaleDownDelayRevisionLimit, DefaultScaleDownDelayRevisionLimit)
}

// PercentageOrDefault is the percentage of requests that is copied, or 100.
func (r *SetMirrorRoute) PercentageOrDefault() int32 {
	return valueOr(r.Percentage, DefaultMirrorPercentage)
}

// StartingStepOrDefault is the step the background analysis starts at, or 0.
func (a *RolloutAnalysisBackground) StartingStepOrDefault() int32 {
	return valueOr(a.StartingStep, 0)
}

// ProgressDeadlineSecondsOrDefault is spec.progressDeadlineSeconds, or 600.
func (s *ExperimentSpec) ProgressDeadlineSecondsOrDefault() int32 {
	return valueOr(s.ProgressDeadlineSeconds, DefaultProgressDeadlineSeconds)
}

// ScaleDownDelay is how long the pods run on after the experiment:
// spec.scaleDownDelaySeconds, or 30 s.
func (s *ExperimentSpec) ScaleDownDelay() time.Duration {
	return seconds(valueOr(s.ScaleDownDelaySeconds, DefaultScaleDownDelaySeconds))
}

// ReplicasOrDefault is the number of pods of the template, or 1.
func (t *TemplateSpec) ReplicasOrDefault() int32 {
	return valueOr(t.Replicas, DefaultReplicas)
}

// ReplicasOrDefault is the number of pods of the template, or 1.
func (t *RolloutExperimentTemplate) ReplicasOrDefault() int32 {
	return valueOr(t.Replicas, DefaultReplicas)
}

func abortDelay(field *int32) (delay time.Duration, never bool) {
	if field != nil && *field == 0 {
		return 0, true
	}
	return seconds(valueOr(field, DefaultAbortScaleDownDelaySeconds)), false
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

func valueOr[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
