package preview

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// RouteObject names an object in which a Rollout's routers hold parts. The
// namespace is empty for cluster-scoped kinds.
type RouteObject struct {
	schema.GroupKind
	Namespace, Name string
}

// RouteObjects are the objects that the status names as held by the Rollout's
// routers, each once.
func RouteObjects(ro *v1alpha1.Rollout) []RouteObject {
	var out []RouteObject
	seen := map[string]bool{}
	for _, r := range ro.Status.Canary.Routers {
		for _, h := range r.Holds {
			gk, namespace, name, ok := rollout.ParseObjectName(h.Object)
			if ok && !seen[h.Object] {
				seen[h.Object] = true
				out = append(out, RouteObject{gk, namespace, name})
			}
		}
	}
	return out
}

// traffic: the routers have the weights, and nobody has confirmed yet that the data
// plane follows. The controller calls that blocking after a while; the wait has
// begun before.
func (e *explainer) traffic() {
	w := e.ro.Status.Canary.Weights
	if w == nil || w.Verified == nil || *w.Verified || len(e.found[GateTraffic]) > 0 {
		return
	}
	e.add(Gate{Name: GateTraffic, Reason: string(rollout.HoldWaitingForTraffic), What: fmt.Sprintf("the data plane does not follow weight %d yet", w.Canary.Weight),
		Since: e.askedSince(), Inputs: e.trafficInputs(), EndedBy: "the data plane accepting the route"})
}

// askedSince is when the split that is waited for was asked of the routers.
func (e *explainer) askedSince() time.Time {
	var at time.Time
	for _, r := range e.ro.Status.Canary.Routers {
		if r.Since != nil && r.Since.After(at) {
			at = r.Since.Time
		}
	}
	return at
}

// trafficInputs are the weights, and what the data plane says of their routes.
func (e *explainer) trafficInputs() []string {
	w := e.ro.Status.Canary.Weights
	if w == nil {
		return nil
	}
	verified := "nobody can tell whether the data plane follows"
	if w.Verified != nil {
		verified = map[bool]string{true: "the data plane follows", false: "the data plane does not follow yet"}[*w.Verified]
	}
	out := []string{fmt.Sprintf("canary has weight %d, stable %d; %s", w.Canary.Weight, w.Stable.Weight, verified)}
	for _, u := range e.around.Routes {
		out = append(out, complaints(u)...)
	}
	return out
}

// complaints are the conditions of a routing object that are not True, those of each
// parent among them, and the word that one is about an older generation.
func complaints(u *unstructured.Unstructured) []string {
	var status struct {
		Conditions []metav1.Condition `json:"conditions"`
		Parents    []struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"parents"`
	}
	raw, _, _ := unstructured.NestedMap(u.Object, "status")
	// Objects that report in another form have nothing to say here.
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &status); err != nil {
		return nil
	}
	all := status.Conditions
	for _, p := range status.Parents {
		all = append(all, p.Conditions...)
	}
	var out []string
	name, late := fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName()), false
	for _, c := range all {
		if c.Status != metav1.ConditionTrue {
			out = append(out, fmt.Sprintf("%s: %s is %s: %s: %s", name, c.Type, c.Status, c.Reason, c.Message))
		}
		late = late || c.ObservedGeneration != 0 && c.ObservedGeneration < u.GetGeneration()
	}
	if late {
		out = append(out, fmt.Sprintf("%s: its status is about an older generation than %d", name, u.GetGeneration()))
	}
	return out
}
