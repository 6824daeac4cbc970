package preview

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/decide"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// Around is what is known of the controller itself.
type Around struct {
	// Holder has the lease of the controller that would serve the Rollout, and
	// has renewed it at Renewed; "" when nobody has it, or there is none. Leased says
	// that there is one: controllers without leader election have none. Unknown says
	// that nobody could look.
	Holder  string
	Renewed time.Time
	Leased  bool
	Unknown bool
	// Budgets are the PodDisruptionBudgets of the namespace that allow no
	// disruption now, by name.
	Budgets []string
	// Routes are the RouteObjects of the Rollout, as far as they could be read.
	Routes []*unstructured.Unstructured
}

// GateState is how a gate stands.
type GateState string

// The states of a gate.
const (
	// GatePassed: nothing is in the way.
	GatePassed GateState = "passed"
	// GateBlocks: this is what the Rollout waits for.
	GateBlocks GateState = "blocks"
	// GateLater: it will be waited for, too, when the first one is passed.
	GateLater GateState = "later"
)

// Gate is one thing that has to be in order before a Rollout goes on. The order
// of gates is that in which they are looked at.
type Gate struct {
	Name  string    `json:"name"`
	State GateState `json:"state"`
	// Reason is the CamelCase reason, as in the Blocked condition.
	Reason string `json:"reason,omitempty"`
	// What is in the way, as a sentence.
	What string `json:"what,omitempty"`
	// Inputs are the facts behind it.
	Inputs []string `json:"inputs,omitempty"`
	// Since is when the wait began; zero when nobody knows.
	Since time.Time `json:"since,omitzero"`
	// EndedBy says what ends it; Until when the clock alone does.
	EndedBy string    `json:"endedBy,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

// The gates.
const (
	GateController = "controller"
	GateSpec       = "spec"
	GatePerson     = "stopped"
	GatePlugins    = "plugins"
	GatePods       = "pods"
	GateTraffic    = "traffic"
	GateStep       = "step"
	GateCleanUp    = "clean-up"
)

var gateOrder = []string{GateController, GateSpec, GatePerson, GatePlugins, GatePods, GateTraffic, GateStep, GateCleanUp}

// Explanation says why a Rollout stands where it stands.
type Explanation struct {
	Phase   string `json:"phase"`
	Message string `json:"message,omitempty"`
	// Gates in order; the first that blocks is the answer.
	Gates []Gate `json:"gates"`
	// Warning is what plugins remark on their configuration; it stops nothing.
	Warning string `json:"warning,omitempty"`
}

// Blocking is the gate that is the answer; ok is false when nothing is waited
// for.
func (e Explanation) Blocking() (Gate, bool) {
	for _, g := range e.Gates {
		if g.State == GateBlocks {
			return g, true
		}
	}
	return Gate{}, false
}

// Explain says what a Rollout waits for: from what the controller wrote, and
// from what the planner makes of the live objects. Traffic is taken from status:
// nobody asks a plugin.
func Explain(now time.Time, o Objects, around Around) Explanation {
	e := &explainer{now: now, o: o, ro: o.Rollout, around: around, found: map[string][]Gate{}}
	e.plan = decide.Decide(e.snapshot())
	e.controller()
	if !e.unserved {
		e.spec()
		e.person()
		e.conditions()
		e.holds()
		e.pods()
		e.traffic()
		e.step()
		e.cleanUp()
	}
	out := Explanation{Phase: string(e.ro.Status.Phase), Message: e.ro.Status.Message}
	if c := e.condition(v1alpha1.ConditionPluginWarning); c != nil {
		out.Warning = c.Message
	}
	blocked := false
	for _, name := range gateOrder {
		if len(e.found[name]) == 0 {
			out.Gates = append(out.Gates, Gate{Name: name, State: GatePassed})
			continue
		}
		for _, g := range e.found[name] {
			g.State = GateBlocks
			if blocked {
				g.State = GateLater
			}
			blocked = true
			out.Gates = append(out.Gates, g)
		}
	}
	return out
}

type explainer struct {
	now    time.Time
	o      Objects
	ro     *v1alpha1.Rollout
	around Around
	plan   rollout.Plan
	found  map[string][]Gate
	// unserved: no controller has looked at the Rollout as it is now, so that its
	// status says nothing.
	unserved bool
}

// add writes a gate down unless the same sentence is there already.
func (e *explainer) add(g Gate) {
	if !slices.ContainsFunc(e.found[g.Name], func(have Gate) bool { return have.What == g.What }) {
		e.found[g.Name] = append(e.found[g.Name], g)
	}
}

// snapshot is what the controller would decide on, with the routers as status
// remembers them.
func (e *explainer) snapshot() *rollout.Snapshot {
	seed := e.o.seed(e.now)
	s := &rollout.Snapshot{Now: e.now, Rollout: e.ro, ReplicaSets: seed.ReplicaSets, AnalysisRuns: seed.AnalysisRuns, Experiments: seed.Experiments,
		Owners: seed.Owners, Services: map[string]*corev1.Service{}, Templates: map[string]*v1alpha1.AnalysisTemplate{},
		ClusterTemplates: map[string]*v1alpha1.ClusterAnalysisTemplate{}, Providers: map[string]rollout.Problem{}}
	for _, svc := range e.o.Services {
		if slices.Contains(rollout.ServiceNames(e.ro), svc.Name) {
			s.Services[svc.Name] = svc
		}
	}
	for _, t := range e.o.Templates {
		s.Templates[t.Name] = t
	}
	for _, t := range e.o.ClusterTemplates {
		s.ClusterTemplates[t.Name] = t
	}
	switch ref := e.ro.Spec.WorkloadRef; {
	case ref == nil:
	case e.o.Workload != nil:
		s.Refer(e.o.Workload)
	default:
		s.Workload = &rollout.Workload{Problem: &rollout.Problem{Class: rollout.ProblemInvalid, Message: fmt.Sprintf("%s %q does not exist; create it or correct the name", ref.Kind, ref.Name)}}
	}
	for _, b := range rollout.Blocks(s.Rollout) {
		s.Routers = append(s.Routers, rollout.Router{Plugin: b.Plugin, Path: b.Path, Config: b.Config, Releasing: b.Releasing,
			Capabilities: rollout.Capabilities{HeaderRoutes: true, MirrorRoutes: true, Experiments: true, MaxWeight: true}, Observation: rollout.Remember(s.Rollout, b)})
	}
	return s
}

// lost is how long a lease may go without renewal before nobody holds it.
const lost = time.Minute

// controller: does anybody serve this Rollout, and has it seen the last change?
func (e *explainer) controller() {
	seen, err := strconv.ParseInt(e.ro.Status.ObservedGeneration, 10, 64)
	behind := e.ro.Status.ObservedGeneration == "" || err == nil && seen < e.ro.Generation
	id := e.ro.Labels[v1alpha1.LabelInstanceID]
	lease := "the lease of the controller without instance id"
	if id != "" {
		lease = fmt.Sprintf("the lease of instance %q", id)
	}
	var why, cure string
	switch {
	case !behind && (e.around.Unknown || !e.around.Leased):
		return
	case e.around.Unknown:
		why, cure = "no controller has looked at the Rollout as it is now", "a controller that serves it; leases could not be read, so nobody knows whether there is one"
	case e.around.Holder == "" && id != "":
		why = fmt.Sprintf("no controller has the instance id %q, which label %s asks for", id, v1alpha1.LabelInstanceID)
		cure = "a controller started with that --instance-id, or a change of the label"
	case e.around.Holder == "":
		why, cure = "no controller is running: nobody holds "+lease, "a controller being installed and started"
	case e.now.Sub(e.around.Renewed) > lost:
		why, cure = fmt.Sprintf("no controller is running: %s held %s last, %s ago", e.around.Holder, lease, e.now.Sub(e.around.Renewed).Round(time.Second)), "a controller being started"
	case behind:
		why = fmt.Sprintf("%s holds %s and has not looked at the Rollout as it is now", e.around.Holder, lease)
		cure = "that controller; if it is another one than you expect, stop it, and the lease changes hands"
	default:
		return
	}
	// A controller that is gone matters also to a Rollout that is at rest, but
	// only an unseen change makes it the whole answer.
	e.unserved = behind
	e.add(Gate{Name: GateController, Reason: "NotServed", What: why, EndedBy: cure, Inputs: []string{
		fmt.Sprintf("metadata.generation is %d, status.observedGeneration is %q", e.ro.Generation, e.ro.Status.ObservedGeneration)}})
}

// spec: what the controller refuses, with its own words, or with the planner's
// where the controller has not spoken yet.
func (e *explainer) spec() {
	c := e.condition(v1alpha1.ConditionInvalidSpec)
	switch {
	case c != nil && c.Status == corev1.ConditionTrue:
		e.add(Gate{Name: GateSpec, Reason: c.Reason, What: c.Message, Since: c.LastTransitionTime.Time, EndedBy: "the field or the object it names being corrected"})
	case e.plan.Invalid != "":
		e.add(Gate{Name: GateSpec, Reason: v1alpha1.ReasonInvalidSpec, What: e.plan.Invalid, EndedBy: "the field or the object it names being corrected"})
	}
}

// person: somebody, or an analysis, stopped it.
func (e *explainer) person() {
	st := e.ro.Status
	if st.Abort && st.StableRS != st.CurrentPodHash {
		g := Gate{Name: GatePerson, Reason: v1alpha1.ReasonRolloutAborted, What: "the update is aborted", EndedBy: "'retry rollout', 'undo', or another template"}
		if st.AbortedAt != nil {
			g.Since = st.AbortedAt.Time
		}
		if c := e.condition(v1alpha1.ConditionProgressing); c != nil && c.Reason == v1alpha1.ReasonRolloutAborted {
			g.Inputs = append(g.Inputs, c.Message)
		}
		g.Inputs = append(g.Inputs, e.failedRuns()...)
		e.add(g)
	}
	if e.ro.Spec.Paused {
		g := Gate{Name: GatePerson, Reason: "Paused", What: "spec.paused is set: a person stopped it", EndedBy: "a promote, or spec.paused: false"}
		if c := e.condition(v1alpha1.ConditionPaused); c != nil && c.Status == corev1.ConditionTrue {
			g.Since = c.LastTransitionTime.Time
		}
		e.add(g)
	}
	for _, c := range st.PauseConditions {
		if c.Reason == v1alpha1.PauseReasonInconclusiveAnalysis || c.Reason == v1alpha1.PauseReasonInconclusiveExperiment {
			e.add(Gate{Name: GatePerson, Reason: string(c.Reason), What: "an analysis could not tell whether the new revision is good", Since: c.StartTime.Time,
				Inputs: e.failedRuns(), EndedBy: "a promote, or an abort"})
		}
	}
}

// conditions: what the controller itself says.
func (e *explainer) conditions() {
	if c := e.condition(v1alpha1.ConditionBlocked); c != nil && c.Status == corev1.ConditionTrue {
		what, by, _ := strings.Cut(c.Message, "; ended by ")
		g := Gate{Name: gateOf(rollout.HoldReason(c.Reason)), Reason: c.Reason, What: what, Since: c.LastTransitionTime.Time, EndedBy: by}
		switch g.Name {
		case GatePods:
			g.Inputs = append(e.podTroubles(), e.budgets()...)
		case GateTraffic:
			g.Inputs, g.Since = e.trafficInputs(), e.askedSince()
		}
		e.add(g)
	}
	if c := e.condition(v1alpha1.ConditionProgressing); c != nil && c.Reason == v1alpha1.ReasonProgressDeadlineExceeded {
		e.add(Gate{Name: GatePods, Reason: c.Reason, Since: c.LastTransitionTime.Time, EndedBy: "the pods becoming available, or an abort",
			What:   fmt.Sprintf("%s No progress for progressDeadlineSeconds (%d)", c.Message, e.ro.Spec.ProgressDeadlineSecondsOrDefault()),
			Inputs: e.podTroubles()})
	}
}

func gateOf(r rollout.HoldReason) string {
	switch r {
	case rollout.HoldPluginUnavailable, rollout.HoldWaitingForPlugin, rollout.HoldPluginRefused, rollout.HoldRouteConflict:
		return GatePlugins
	case rollout.HoldWaitingForPods, rollout.HoldDisruptionBudget:
		return GatePods
	case rollout.HoldWaitingForTraffic, rollout.HoldInvariant:
		return GateTraffic
	case rollout.HoldWaitingForRun, rollout.HoldWaitingForStep:
		return GateStep
	case rollout.HoldPaused:
		return GateStep
	case rollout.HoldInvalidSpec, rollout.HoldWaitingForWorkload:
		return GateSpec
	}
	return GateStep
}

// holds: what the planner waits for, looking at the same objects.
func (e *explainer) holds() {
	for _, h := range e.plan.Holds {
		if h.Reason == rollout.HoldInvalidSpec {
			continue
		}
		g := Gate{Name: gateOf(h.Reason), Reason: string(h.Reason), What: h.What, EndedBy: h.EndedBy, Until: h.Until}
		switch g.Name {
		case GatePods:
			g.Inputs, g.Since = e.podTroubles(), e.podsSince()
		case GateStep:
			g.Inputs, g.Since = e.runInputs(), e.stepSince()
		case GateTraffic:
			g.Inputs, g.Since = e.trafficInputs(), e.askedSince()
		}
		if e.ro.Spec.Paused && h.Reason == rollout.HoldPaused {
			continue
		}
		e.add(g)
	}
}

func (e *explainer) condition(t v1alpha1.RolloutConditionType) *v1alpha1.RolloutCondition {
	for i := range e.ro.Status.Conditions {
		if c := &e.ro.Status.Conditions[i]; c.Type == t {
			return c
		}
	}
	return nil
}
