package sim

import (
	"fmt"
	"math/rand"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// disturbSpec is somebody's edit of what is neither the template nor the steps.
func (w *World) disturbSpec(r *rand.Rand) {
	switch r.Intn(8) {
	case 0, 1:
		w.mistake(r)
	case 2:
		w.correct()
	case 3:
		w.disturbWorkload(r)
	case 4:
		w.disturbRouting()
	case 5:
		at := metav1.NewTime(w.now.Add(time.Duration(r.Intn(60)) * time.Second).Truncate(time.Second))
		w.Edit("asks for a restart at t="+at.Sub(epoch).String(), func(ro *v1alpha1.Rollout) { ro.Spec.RestartAt = &at })
	case 6:
		w.orphan(r)
	case 7:
		w.edits(r)
	}
}

// edits changes one field to another value that is allowed.
func (w *World) edits(r *rand.Rand) {
	n := int32(r.Intn(4))
	edit := []struct {
		what string
		do   func(*v1alpha1.Rollout)
	}{
		{"removes spec.replicas", func(ro *v1alpha1.Rollout) { ro.Spec.Replicas = nil }},
		{fmt.Sprintf("sets minReadySeconds %d", n), func(ro *v1alpha1.Rollout) { ro.Spec.MinReadySeconds = n }},
		{"edits fields of life", func(ro *v1alpha1.Rollout) { randomLife(r, ro); fitting(ro) }},
		{"edits maxSurge and maxUnavailable", func(ro *v1alpha1.Rollout) {
			if c := ro.Spec.Strategy.Canary; c != nil {
				randomBounds(r, c)
			}
		}},
		{"asks for pods away from those of the other revision", func(ro *v1alpha1.Rollout) {
			if c := ro.Spec.Strategy.Canary; c != nil {
				c.AntiAffinity = &v1alpha1.AntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1alpha1.RequiredDuringSchedulingIgnoredDuringExecution{}}
			}
		}},
		{"lets pods go anywhere", func(ro *v1alpha1.Rollout) {
			if c := ro.Spec.Strategy.Canary; c != nil {
				c.AntiAffinity = nil
			}
		}},
		{"changes the analysis in the background", func(ro *v1alpha1.Rollout) {
			if c := ro.Spec.Strategy.Canary; c != nil && c.Analysis == nil {
				c.Analysis = &v1alpha1.RolloutAnalysisBackground{RolloutAnalysis: *Analysis().Analysis}
			} else if c != nil {
				c.Analysis = nil
			}
		}},
		{"changes dynamicStableScale", func(ro *v1alpha1.Rollout) {
			if c := ro.Spec.Strategy.Canary; c != nil && c.TrafficRouting != nil {
				c.DynamicStableScale, c.ScaleDownDelaySeconds = !c.DynamicStableScale, nil
			}
		}},
	}[r.Intn(8)]
	w.Edit(edit.what, edit.do)
}

// mistakes are edits that no Rollout can follow.
var mistakes = []struct {
	what string
	do   func(*v1alpha1.RolloutSpec)
}{
	{"asks for -1 replicas", func(s *v1alpha1.RolloutSpec) { s.Replicas = new(int32(-1)) }},
	{"asks for -1 minReadySeconds", func(s *v1alpha1.RolloutSpec) { s.MinReadySeconds = -1 }},
	{"asks for -1 old revisions", func(s *v1alpha1.RolloutSpec) { s.RevisionHistoryLimit = new(int32(-1)) }},
	{"asks for pods in time before they can be ready", func(s *v1alpha1.RolloutSpec) { s.ProgressDeadlineSeconds = new(int32(1)); s.MinReadySeconds = 2 }},
	{"selects no pods", func(s *v1alpha1.RolloutSpec) { s.Selector = &metav1.LabelSelector{} }},
	{"selects other pods", func(s *v1alpha1.RolloutSpec) { s.Selector.MatchLabels = map[string]string{"app": "other"} }},
	{"removes the containers", func(s *v1alpha1.RolloutSpec) { s.Template.Spec.Containers = nil }},
	{"removes the strategy", func(s *v1alpha1.RolloutSpec) { s.Strategy = v1alpha1.RolloutStrategy{} }},
	{"asks for two strategies", func(s *v1alpha1.RolloutSpec) {
		s.Strategy.Canary, s.Strategy.BlueGreen = &v1alpha1.CanaryStrategy{}, &v1alpha1.BlueGreenStrategy{ActiveService: ActiveService}
	}},
	{"asks for weight -1", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.Steps = append(c.Steps, SetWeight(-1)) })},
	{"leaves a step empty", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.Steps = append(c.Steps, v1alpha1.CanaryStep{}) })},
	{"leaves setCanaryScale empty", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		c.Steps = append(c.Steps, v1alpha1.CanaryStep{SetCanaryScale: &v1alpha1.SetCanaryScale{}})
	})},
	{"names an unknown route", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.Steps = append(c.Steps, HeaderRoute("gamma", "x")) })},
	{"leaves an experiment empty", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		c.Steps = append(c.Steps, v1alpha1.CanaryStep{Experiment: &v1alpha1.RolloutExperimentStep{}})
	})},
	{"gives an experiment more than all traffic", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.Steps = append(c.Steps, Experiment(c.MaxTrafficWeightOrDefault())) })},
	{"names one Service twice", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.StableService, c.CanaryService = "stable", "stable" })},
	{"names no canary Service", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.CanaryService = "" })},
	{"exchanges the names of the Services", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.StableService, c.CanaryService = c.CanaryService, c.StableService })},
	{"names no router", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		if c.TrafficRouting != nil {
			c.TrafficRouting.Plugins = nil
		}
	})},
	{"makes nothing of all traffic", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		if c.TrafficRouting != nil {
			c.TrafficRouting.MaxTrafficWeight = new(int32)
		}
	})},
	{"lets pods neither come nor go", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		zero := intstr.FromInt32(0)
		c.MaxSurge, c.MaxUnavailable = &zero, &zero
	})},
	{"asks for a delay of -1 s", canaryMistake(func(c *v1alpha1.CanaryStrategy) { c.AbortScaleDownDelaySeconds = new(int32(-1)) })},
	{"names an unknown template", canaryMistake(func(c *v1alpha1.CanaryStrategy) {
		step := Analysis()
		step.Analysis.Templates[0].TemplateName = "unknown"
		c.Steps = append(c.Steps, step)
	})},
	{"names no active Service", func(s *v1alpha1.RolloutSpec) {
		if bg := s.Strategy.BlueGreen; bg != nil {
			bg.ActiveService = ""
		}
	}},
	{"names one Service for users and preview", func(s *v1alpha1.RolloutSpec) {
		if bg := s.Strategy.BlueGreen; bg != nil {
			bg.PreviewService = bg.ActiveService
		}
	}},
	{"promotes after -1 s", func(s *v1alpha1.RolloutSpec) {
		if bg := s.Strategy.BlueGreen; bg != nil {
			bg.AutoPromotionSeconds = -1
		}
	}},
}

func canaryMistake(do func(*v1alpha1.CanaryStrategy)) func(*v1alpha1.RolloutSpec) {
	return func(s *v1alpha1.RolloutSpec) {
		if s.Strategy.Canary != nil {
			do(s.Strategy.Canary)
		}
	}
}

// mistake edits the spec so that it is invalid, until correct.
func (w *World) mistake(r *rand.Rand) {
	if w.sound != nil {
		return // one at a time
	}
	w.sound = w.Rollout().Spec.DeepCopy()
	m := mistakes[r.Intn(len(mistakes))]
	w.Edit(m.what, func(ro *v1alpha1.Rollout) {
		if ro.Spec.Selector != nil || ro.Spec.WorkloadRef == nil {
			m.do(&ro.Spec)
		}
	})
}

// correct takes the mistake back; what else was edited meanwhile stays where it
// is not the mistake itself.
func (w *World) correct() {
	if w.sound == nil {
		return
	}
	sound := w.sound
	w.sound = nil
	w.Edit("corrects the mistake", func(ro *v1alpha1.Rollout) {
		s := &ro.Spec
		s.Strategy, s.Selector, s.MinReadySeconds = sound.Strategy, sound.Selector, sound.MinReadySeconds
		s.RevisionHistoryLimit, s.ProgressDeadlineSeconds = sound.RevisionHistoryLimit, sound.ProgressDeadlineSeconds
		if s.Replicas != nil && *s.Replicas < 0 {
			s.Replicas = sound.Replicas
		}
		if len(s.Template.Spec.Containers) == 0 {
			s.Template = sound.Template
		}
	})
}

// disturbWorkload changes what becomes of the referenced Deployment, or makes the
// Rollout its own master, and back.
func (w *World) disturbWorkload(r *rand.Rand) {
	d := find[*appsv1.Deployment](w.store.live, kindDeployment, Deployment)
	if d == nil || w.sound != nil {
		return
	}
	mode := []string{v1alpha1.ScaleDownNever, v1alpha1.ScaleDownOnSuccess, v1alpha1.ScaleDownProgressively}[r.Intn(3)]
	switch ref := w.Rollout().Spec.WorkloadRef; {
	case ref == nil:
		w.Edit("takes the template from the Deployment", func(ro *v1alpha1.Rollout) { Referring(ro, mode) })
	case r.Intn(2) == 0:
		w.Edit("sets scaleDown to "+mode, func(ro *v1alpha1.Rollout) { ro.Spec.WorkloadRef.ScaleDown = mode })
	default:
		w.Edit("writes the template into the Rollout", func(ro *v1alpha1.Rollout) {
			ro.Spec.WorkloadRef, ro.Spec.Template, ro.Spec.Selector = nil, *d.Spec.Template.DeepCopy(), d.Spec.Selector.DeepCopy()
		})
	}
}

// disturbRouting takes traffic routing out of a canary, or puts it back; the
// steps that need it are a mistake meanwhile.
func (w *World) disturbRouting() {
	c := w.Rollout().Spec.Strategy.Canary
	if c == nil || w.sound != nil || c.TrafficRouting == nil {
		return
	}
	w.sound = w.Rollout().Spec.DeepCopy()
	w.Edit("removes traffic routing", func(ro *v1alpha1.Rollout) {
		c := ro.Spec.Strategy.Canary
		c.TrafficRouting, c.DynamicStableScale, c.ScaleDownDelaySeconds = nil, false, nil
		c.Steps = WithoutRouting(c.Steps)
	})
}

// orphan takes a ReplicaSet from its owner, as a deletion without cascade does.
func (w *World) orphan(r *rand.Rand) {
	all := list[*appsv1.ReplicaSet](w.store.live, kindReplicaSet)
	if len(all) == 0 {
		return
	}
	rs := all[r.Intn(len(all))]
	w.note("somebody takes ReplicaSet " + rs.Name + " from its owner")
	_, err := w.store.update(byUser, key{kindReplicaSet, rs.Name}, "", func(obj object) { obj.SetOwnerReferences(nil) })
	w.must(err)
}
