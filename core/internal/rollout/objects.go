package rollout

import (
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// Need names objects a plugin wants to see: one by Name, or all that match
// Selector in Namespace. Exactly one of Name and Selector is set.
type Need struct {
	Group string
	Kind  string
	// Versions in order of preference; the broker serves the first one that
	// the API server has.
	Versions []string
	// Namespace is empty for cluster-scoped kinds.
	Namespace string
	Name      string
	Selector  *metav1.LabelSelector
	// SelectorText is Selector as the plugin wrote it. It goes back unchanged,
	// because plugins find their needs by it; "" is written from Selector.
	SelectorText string
}

// NeedState says how well a Need could be answered.
type NeedState string

const (
	// NeedSynced means Objects is complete, even when it is empty.
	NeedSynced NeedState = "SYNCED"
	// NeedSyncing means the informer has not listed yet; it is a hold, and the
	// caller is re-queued when the listing arrives.
	NeedSyncing NeedState = "SYNCING"
	// NeedForbidden means the API server refused the controller; Message names
	// the ClusterRole to grant.
	NeedForbidden NeedState = "FORBIDDEN"
	// NeedNotServed means no wanted version is served; retried when the CRD
	// appears.
	NeedNotServed NeedState = "NOT_SERVED"
	// NeedDenied means the plugin's grant, or a missing ReferenceGrant, does
	// not allow it.
	NeedDenied NeedState = "DENIED"
)

// NeedResult answers one Need.
type NeedResult struct {
	Need    Need
	State   NeedState
	Message string
	// APIVersion is the served group/version; empty unless SYNCED or SYNCING.
	APIVersion string
	Objects    []Object
}

// Object is one API object as the informer holds it.
type Object struct {
	APIVersion      string
	ResourceVersion string
	// JSON is the whole object. Nobody may modify the bytes.
	JSON []byte
	// Held marks an object this router recorded in status.canary.routers[].holds.
	Held bool
}

// WriteVerb is what a Write does.
type WriteVerb string

const (
	WriteCreate WriteVerb = "create"
	WriteUpdate WriteVerb = "update"
	WriteDelete WriteVerb = "delete"
)

// Write is one change a plugin asks the host to make. An update carries the
// full modified object with the resourceVersion the plugin saw.
type Write struct {
	Verb WriteVerb
	JSON []byte
}

// Caller is the object on whose behalf a plugin is asked; created objects get
// an owner reference to it, and its namespace bounds what may be touched.
type Caller struct {
	APIVersion string
	Kind       string
	Namespace  string
	Name       string
	UID        string
}

// Grant lists what a plugin may read and write through the broker.
type Grant struct {
	Rules []GrantRule
	// AllowNamespaces are namespaces besides the caller's own in which the
	// rules hold without a ReferenceGrant. "*" allows all.
	AllowNamespaces []string
}

// GrantRule allows verbs on one kind.
type GrantRule struct {
	Group string
	Kind  string
	// Verbs is a subset of get, list, watch, create, update, delete. Reading
	// needs any of the first three.
	Verbs []string
}

// Allows reports whether the grant has the verb for the kind. Namespaces are
// checked by the broker.
func (g Grant) Allows(verb string, gk schema.GroupKind) bool {
	for _, r := range g.Rules {
		if r.Group != gk.Group || r.Kind != gk.Kind {
			continue
		}
		for _, v := range r.Verbs {
			if v == verb {
				return true
			}
		}
	}
	return false
}

// NeverGrantable reports whether no grant may cover the kind: Secrets, our own
// objects, and whatever decides who may do what or hands out tokens. Anything
// that looks like a subresource (pods/exec) is not a kind and never grantable
// either.
func NeverGrantable(gk schema.GroupKind) bool {
	switch gk.Group {
	case "argoproj.io", "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "authentication.k8s.io":
		return true
	case "":
		return gk.Kind == "Secret" || strings.Contains(gk.Kind, "/")
	}
	return strings.Contains(gk.Kind, "/")
}

// Target is what a plugin learns about the rollout it is asked for; never the
// whole object.
type Target struct {
	Namespace  string
	Name       string
	UID        string
	Generation int64
	Labels     map[string]string
	// Services by role.
	StableService string
	CanaryService string
}

// ObserveRequest is the input of TrafficRouter.Observe.
type ObserveRequest struct {
	Target       Target
	Config       json.RawMessage
	ManagedNames []string
	Inputs       []NeedResult
	// TotalWeight is what the answer is normalised to.
	TotalWeight int32
	// Releasing: nothing of the router is to be left.
	Releasing bool
	// Kept is what a releasing router leaves to the present blocks.
	Kept []Claim
}

// ObserveAnswer is a validated answer of TrafficRouter.Observe.
type ObserveAnswer struct {
	Needs       []Need
	Observation Observation
}

// ValidateRequest is the input of TrafficRouter.Validate.
type ValidateRequest struct {
	Target   Target
	Config   json.RawMessage
	Envelope Envelope
	Inputs   []NeedResult
}

// Envelope is everything the steps of a rollout will ever ask of a router.
type Envelope struct {
	TotalWeight     int32
	ManagedRoutes   []ManagedRoute
	MaxDestinations int32
	PingPong        bool
}

// RouteRequest is the input of TrafficRouter.Route. Exactly one of Desired and
// Release is set.
type RouteRequest struct {
	Target Target
	// Rollout is the whole object, for plugins of a protocol that sends it. Nil
	// where there is none; nobody modifies it.
	Rollout     *v1alpha1.Rollout
	Config      json.RawMessage
	Desired     *Traffic
	Release     *Release
	Inputs      []NeedResult
	OperationID string
	// Verify says that Desired was acknowledged before, and that only the
	// convergence in the answer matters. Only for routers without OBSERVE.
	Verify bool
}

// Release asks a router to leave the objects as if it had never been there:
// stable = total, canary = 0, own rules and created objects gone.
type Release struct {
	TotalWeight  int32
	ManagedNames []string
	// StableService and CanaryService as the stored config meant them.
	StableService string
	CanaryService string
	// Kept is what the present blocks claim: it stays as it is.
	Kept []Claim
}

// RouteAnswer is a validated answer of TrafficRouter.Route: one stage.
type RouteAnswer struct {
	Needs   []Need
	Writes  []Write
	Message string
	// Convergence of Desired, from a router without OBSERVE that can tell; ""
	// is nothing known. What was answered with PENDING is asked again after
	// 10 s, with Verify.
	Convergence Convergence
}
