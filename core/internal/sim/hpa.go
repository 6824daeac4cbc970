package sim

import (
	"fmt"
	"math/rand"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// HPA is an autoscaler of the Rollout. It knows what the scale subresource
// shows, spec.replicas, status.HPAReplicas and status.selector, and the pods
// that the selector matches.
type HPA struct {
	// Min and Max bound what it asks for.
	Min, Max int32
	// Load is what users ask of all pods together; one pod does 1.
	Load int32
	// External counts pods by status.HPAReplicas, as an HPA with an external
	// metric does, instead of by the selector.
	External bool
	// Every is how long after a change it looks; a Late one decides on what it
	// saw at the change.
	Every time.Duration
	Late  bool
	// Wrong is added to what it asks for.
	Wrong int32

	looking, again bool
}

// scaleView is what the scale subresource and the pods showed at one moment.
type scaleView struct {
	spec, status int32
	pods         int32
}

// AddHPA lets an autoscaler look after the Rollout.
func (w *World) AddHPA(h HPA) {
	if h.Every == 0 {
		h.Every = 15 * time.Second
	}
	w.HPA = &h
	w.note(fmt.Sprintf("an HPA keeps %d to %d pods for a load of %d", h.Min, h.Max, h.Load))
	w.scaleChanged()
}

// SetLoad changes what users ask for.
func (w *World) SetLoad(load int32) {
	w.note(fmt.Sprintf("the load is %d pods' worth (was %d)", load, w.HPA.Load))
	w.HPA.Load = load
	w.scaleChanged()
}

// scaleChanged lets the HPA look once more, a while after the change.
func (w *World) scaleChanged() {
	h := w.HPA
	if h == nil || w.Rollout() == nil {
		return
	}
	if h.looking {
		h.again = true
		return
	}
	h.looking = true
	seen := w.scaleView()
	w.after(h.Every, func() {
		again := h.again
		h.looking, h.again = false, false
		if !h.Late {
			seen = w.scaleView()
		}
		if w.Rollout() != nil && w.autoscale(seen) || again {
			w.scaleChanged()
		}
	})
}

func (w *World) scaleView() scaleView {
	ro := w.Rollout()
	v := scaleView{spec: ro.Spec.ReplicasOrDefault(), status: ro.Status.HPAReplicas}
	selector, err := labels.Parse(ro.Status.Selector)
	if err != nil || ro.Status.Selector == "" {
		return v // it cannot count what it cannot select
	}
	for _, pods := range w.pods {
		for _, p := range pods {
			if !p.broken && !p.from.After(w.now) && selector.Matches(labels.Set(p.labels)) {
				v.pods++
			}
		}
	}
	return v
}

// autoscale writes spec.replicas if the view asks for it, and reports that it
// did.
func (w *World) autoscale(v scaleView) bool {
	h := w.HPA
	if v.spec == 0 && h.Min > 0 {
		return false // somebody has switched it off
	}
	want, ok := h.wants(v)
	if !ok {
		return false
	}
	if want = min(max(want+h.Wrong, h.Min), h.Max); want == w.Rollout().Spec.ReplicasOrDefault() {
		return false
	}
	w.note(fmt.Sprintf("the HPA sees a load of %d on %d pods (%d counted): spec.replicas is %d", h.Load, v.pods, v.status, want))
	w.scaleTo(want)
	return true
}

// wants follows the formulas of Kubernetes' HPA with its tolerance of 10 %.
func (h *HPA) wants(v scaleView) (int32, bool) {
	have, keep := v.pods, v.spec
	if h.External {
		have, keep = v.status, v.status
	}
	if have == 0 {
		return 0, false
	}
	if off := 10 * (h.Load - have); -have <= off && off <= have {
		return keep, true
	}
	return h.Load, true
}

// scaleTo writes the scale subresource.
func (w *World) scaleTo(n int32) {
	_, err := w.store.update(byUser, key{kindRollout, Name}, "", func(obj object) { setReplicas(obj, n) })
	w.must(err)
}

// misscaled says that a rest is not what a sound autoscaler asks for; "" when
// it is.
func (w *World) misscaled() string {
	h := w.HPA
	if h == nil || h.Wrong != 0 || w.Rollout().Spec.ReplicasOrDefault() == 0 {
		return ""
	}
	v := w.scaleView()
	if v.pods == 0 {
		return ""
	}
	want, ok := h.wants(v)
	if !ok {
		return fmt.Sprintf("the HPA cannot count the %d pods it selects: status.HPAReplicas is %d", v.pods, v.status)
	}
	if want = min(max(want, h.Min), h.Max); want != v.spec {
		return fmt.Sprintf("the HPA wants %d pods for a load of %d, spec.replicas is %d", want, h.Load, v.spec)
	}
	return ""
}

// randomHPA gives one cluster in three an autoscaler.
func (w *World) randomHPA(r *rand.Rand) {
	if r.Intn(3) > 0 {
		return
	}
	least := int32(1 + r.Intn(3))
	w.AddHPA(HPA{Min: least, Max: least + int32(r.Intn(5)), Load: int32(r.Intn(8)), External: r.Intn(3) == 0,
		Every: time.Duration(1+r.Intn(15)) * time.Second, Late: r.Intn(3) == 0})
}

// disturbHPA changes the load, or what the autoscaler makes of it.
func (w *World) disturbHPA(r *rand.Rand) {
	if w.HPA == nil {
		return
	}
	if r.Intn(3) == 0 {
		w.HPA.Wrong = int32(r.Intn(5) - 2)
		w.note(fmt.Sprintf("the HPA is wrong by %d", w.HPA.Wrong))
	}
	w.SetLoad(int32(r.Intn(8)))
}
