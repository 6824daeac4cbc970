// Package trafficrouter is for plugins that split traffic between versions.
//
// An author implements Router, and usually Observer; more interfaces say what else the router can do, and the
// capabilities the host sees follow from them:
//
//	func main() {
//		trafficrouter.Serve(plugin.Info{Name: "myrouter", Version: "0.1.0", Kinds: kinds}, router{})
//	}
//
// Every method gets the whole state, returns objects as they should be, and looks at no clock. An error moves nothing: see
// the constructors in sdk/plugin for what the host makes of which.
package trafficrouter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Router is what every traffic router implements. Methods are called concurrently for different targets.
type Router interface {
	// Validate checks configuration, references and the envelope of all steps before the first weight moves. It has no
	// effects. What is wrong is a plugin.InvalidConfig or plugin.ReferenceNotFound error.
	Validate(ctx context.Context, req *ValidateRequest) error
	// Route returns the next stage towards req.Traffic: at most one write per object, and never both a write that takes
	// traffic off a name and one that re-points or removes that name. The stage after it is asked for when this one has
	// converged. No writes: nothing to do.
	Route(ctx context.Context, req *RouteRequest) (*Stage, error)
}

// Observer is implemented by routers that can tell what is there; CAPABILITY_OBSERVE. Without it the core assumes the
// worse of what it asked for and what was acknowledged, and notices no edits by others; whether the data plane follows is
// in each Stage.
type Observer interface {
	// Observe says what traffic the objects route now. It has no effects.
	Observe(ctx context.Context, req *ObserveRequest) (*Observation, error)
}

// HeaderRouter is implemented by routers that can send requests with certain headers to the canary;
// CAPABILITY_HEADER_ROUTES.
type HeaderRouter interface {
	// CheckHeaderRoute returns an error if the data plane cannot express the route. Pure.
	CheckHeaderRoute(route HeaderRoute) error
}

// MirrorRouter is implemented by routers that can copy requests to the canary; CAPABILITY_MIRROR_ROUTES.
type MirrorRouter interface {
	// CheckMirrorRoute returns an error if the data plane cannot express the route. Pure.
	CheckMirrorRoute(route MirrorRoute) error
}

// Experimenter is implemented by routers that take destinations of RoleExperiment; CAPABILITY_EXPERIMENTS.
type Experimenter interface {
	// MaxExperiments is the most such destinations at once. Constant.
	MaxExperiments() int
}

// WeightScaler is implemented by routers that take totals other than 100; CAPABILITY_MAX_WEIGHT.
type WeightScaler interface {
	// MaxTotalWeight is the largest total. Constant.
	MaxTotalWeight() int32
}

// External is implemented by routers whose Route has effects of its own outside Kubernetes; CAPABILITY_EXTERNAL_EFFECTS.
// Route must be idempotent under req.OperationID.
type External interface {
	// ExternalSystem names the system for logs. Constant.
	ExternalSystem() string
}

// ValidateRequest is everything that can be checked in advance.
type ValidateRequest struct {
	Target plugin.Target
	// Config is the user's block; see config.Decode.
	Config []byte
	// Envelope bounds what all steps will ask for. The SDK has checked it against the router's interfaces.
	Envelope Envelope
	Inputs   *objects.Inputs

	warning string
}

// Warnf leaves a remark for the user that stops nothing. The last one stays.
func (r *ValidateRequest) Warnf(format string, args ...any) { r.warning = fmt.Sprintf(format, args...) }

// Envelope bounds everything a rollout will ask of the router.
type Envelope struct {
	TotalWeight int32
	// ManagedRoutes of all steps; a name may occur more than once, with different contents.
	ManagedRoutes []ManagedRoute
	// MaxExperiments is the most experiment destinations at once.
	MaxExperiments int32
	// PingPong: stable and canary Service trade places at promotion.
	PingPong bool
}

// ObserveRequest is what there is to observe.
type ObserveRequest struct {
	Target plugin.Target
	// Config is the user's block, or the stored one during a release.
	Config []byte
	// ManagedNames are the names of the router's own routes; all others are foreign.
	ManagedNames []string
	// TotalWeight is what the observed weights are normalised to (see Normalize); never 0.
	TotalWeight int32
	// Releasing: nothing of the router is to be left; what it keeps while it is in use is residue now.
	Releasing bool
	// Kept is, with Releasing, what the rollout goes on steering by the block it has now: neither a place nor residue.
	Kept   Claims
	Inputs *objects.Inputs
}

// Observation is what the objects say.
type Observation struct {
	// Observed has one entry per weighted rule of one object.
	Observed []Observed
	// Convergence says whether the data plane has taken over the objects as they are now.
	Convergence Convergence
	// Settle is how long after that requests may still take the old way. The core counts it. Zero: not at all.
	Settle time.Duration
	// Claims is what only one rollout may steer.
	Claims []Claim
	// RecheckAfter asks again although nothing changed, for data planes that cannot be watched. Zero: never.
	RecheckAfter time.Duration
	// Message is for people, such as what convergence waits for.
	Message string
}

// Observed is the traffic in one place.
type Observed struct {
	// Place is unique in an observation and stable under reordering, such as `HTTPRoute/shop/web rule=main`.
	Place string
	// Traffic there, weights normalised to the request's TotalWeight; ManagedNames is not used.
	Traffic Traffic
	// Residue: something of the router's own is left that Route would remove.
	Residue bool
}

// Claim is a thing only one rollout may steer.
type Claim struct {
	Object objects.Ref
	// Key says what of the object, stable under reordering, such as `rule=main/backend=Service/shop/web-canary:80`.
	Key string
}

// Claims is a set of claims. Nil is empty.
type Claims []Claim

// Has reports that a key of an object is among them.
func (c Claims) Has(object objects.Ref, key string) bool {
	return slices.Contains(c, Claim{object, key})
}

// On reports that something of an object is among them.
func (c Claims) On(object objects.Ref) bool {
	return slices.ContainsFunc(c, func(one Claim) bool { return one.Object == object })
}

// Convergence says whether the data plane has taken over the objects.
type Convergence int

const (
	// Unknown: the data plane does not report; the core proceeds after Settle. The zero value.
	Unknown Convergence = iota
	// Pending: not yet.
	Pending
	// Done: taken over.
	Done
)

// RouteRequest is the state to bring about.
type RouteRequest struct {
	Target plugin.Target
	// Config is the user's block, or the stored one during a release.
	Config []byte
	// Traffic to bring about. Weights are not negative and sum to TotalWeight; the SDK has checked.
	Traffic Traffic
	// Release: besides, leave. Traffic is then stable at the total and no managed routes, and afterwards nothing of the
	// router's own may be left: no rule, label, annotation or object.
	Release bool
	// Kept is, with Release, what the rollout goes on steering by the block it has now, and what therefore stays as it is.
	// Of an object with such a claim only what was claimed besides is given back, and the router's record in it stays.
	Kept Claims
	// Inputs are the objects of the observation that led here.
	Inputs *objects.Inputs
	// OperationID is the same when the same intent is asked for again.
	OperationID string
}

// Stage is what to write next.
type Stage struct {
	// Writes in order. None: nothing to do.
	Writes []objects.Write
	// Message is for people, such as which stage follows.
	Message string
	// Convergence of the traffic that was asked for, from a router that is no Observer. While it is Pending the same is
	// asked for again, under the same operation ID. Zero: the data plane does not report.
	Convergence Convergence
}
