package rollout

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Role is the part a destination plays.
type Role string

const (
	RoleStable     Role = "stable"
	RoleCanary     Role = "canary"
	RoleExperiment Role = "experiment"
)

// Destination is one receiver of traffic.
type Destination struct {
	Role    Role
	Service string
	// Hash is the pod template hash; in an observation it is set only where
	// the routed object itself names one (an Istio subset, whose Service is "").
	Hash   string
	Weight int32
}

// StringMatch matches a header, path or method value; exactly one is set.
type StringMatch struct {
	Exact  string
	Prefix string
	Regex  string
}

// HeaderMatch is one condition of a header route.
type HeaderMatch struct {
	Name  string
	Value StringMatch
}

// RouteMatch is one alternative of a mirror route.
type RouteMatch struct {
	Method  *StringMatch
	Path    *StringMatch
	Headers []HeaderMatch
}

// ManagedRoute is one of spec.managedRoutes that is wanted now. Exactly one of
// Header and Mirror is set.
type ManagedRoute struct {
	Name   string
	Header []HeaderMatch
	Mirror *MirrorRoute
	// Digest is the Content of a route of which nothing else is known; "" when
	// Header or Mirror is set.
	Digest string
}

// MirrorRoute copies a share of the matching requests to the canary.
type MirrorRoute struct {
	Percentage int32
	Match      []RouteMatch
}

// Traffic is a whole desired or observed distribution.
type Traffic struct {
	TotalWeight  int32
	Destinations []Destination
	// Managed in order of spec.managedRoutes: highest priority first.
	Managed []ManagedRoute
	// ManagedNames are the only names a router may delete.
	ManagedNames []string
}

// Weight sums the weight of every destination with the role.
func (t Traffic) Weight(role Role) int64 {
	var sum int64
	for _, d := range t.Destinations {
		if d.Role == role {
			sum += int64(d.Weight)
		}
	}
	return sum
}

// Observed is what one weighted rule of one object does now, normalised to the
// total weight.
type Observed struct {
	Place   string
	Traffic Traffic
	// Residue says that the router still has leftovers of its own to remove.
	Residue bool
}

// Convergence says whether the data plane serves what the objects say.
type Convergence string

const (
	ConvergenceUnknown Convergence = "UNKNOWN"
	ConvergencePending Convergence = "PENDING"
	ConvergenceDone    Convergence = "DONE"
)

// Claim is one backend of one rule a router writes; two rollouts never share
// one.
type Claim struct {
	Object string
	Key    string
}

// Observation is everything a router tells about the objects as they are now.
type Observation struct {
	Observed    []Observed
	Convergence Convergence
	// Settle is how long traffic may lag behind convergence, counted by the
	// core from the time it first recorded this observation.
	Settle  time.Duration
	Claims  []Claim
	Recheck time.Duration
	Message string
	// Fingerprint identifies the inputs this was computed from; Route is only
	// called with the same ones.
	Fingerprint string
}

// Matches reports whether every place already carries the desired traffic and
// nothing is left to remove: the state in which no Route call is made.
func (o Observation) Matches(want Traffic) bool {
	if len(o.Observed) == 0 {
		return false
	}
	for _, at := range o.Observed {
		if at.Residue || !sameWeights(at.Traffic, want) || !samePointing(at.Traffic, want) || !sameManaged(at.Traffic, want) {
			return false
		}
	}
	return true
}

// Unsure reports that nobody knows what is in place: what was asked for has not
// been acknowledged, or nothing was ever asked for.
func (o Observation) Unsure() bool {
	return len(o.Observed) == 0 || slices.ContainsFunc(o.Observed, func(at Observed) bool { return at.Residue })
}

// sameWeights compares by role and service; a destination that is absent
// weighs 0.
func sameWeights(a, b Traffic) bool {
	type key struct {
		role    Role
		service string
	}
	sum := map[key]int64{}
	for _, d := range a.Destinations {
		sum[key{d.Role, d.Service}] += int64(d.Weight)
	}
	for _, d := range b.Destinations {
		sum[key{d.Role, d.Service}] -= int64(d.Weight)
	}
	for _, v := range sum {
		if v != 0 {
			return false
		}
	}
	return true
}

// ProblemClass says how the core treats a router that could not be asked.
type ProblemClass string

const (
	// ProblemUnavailable: the plugin is not in the catalog, not started or did
	// not answer. Nothing is known about its traffic.
	ProblemUnavailable ProblemClass = "Unavailable"
	// ProblemWaiting: the plugin is being asked, or its inputs are still being
	// listed. Nothing is known yet.
	ProblemWaiting ProblemClass = "Waiting"
	// ProblemInvalid: the configuration or a reference is wrong: InvalidSpec.
	ProblemInvalid ProblemClass = "Invalid"
	// ProblemConflict: another rollout holds a claim of this one.
	ProblemConflict ProblemClass = "Conflict"
	// ProblemRefused: the plugin answered with a terminal error, or a grant is
	// missing.
	ProblemRefused ProblemClass = "Refused"
)

// Problem is why a router cannot be used now.
type Problem struct {
	Class ProblemClass
	// Reason is a value of Blocked's reason, e.g. PluginUnavailable.
	Reason string
	// Path is the field path relative to the router's own block; only for
	// ProblemInvalid.
	Path    string
	Message string
	// Retry is when asking again makes sense; zero means on the next event.
	Retry time.Duration
}

func (p *Problem) Error() string {
	if p.Path != "" {
		return p.Path + ": " + p.Message
	}
	return p.Message
}

// IsWaiting reports that the error is a plugin that has been asked, or is being
// started: its answer is what comes next, and nothing went wrong.
func IsWaiting(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Class == ProblemWaiting
}

// Capabilities of a router plugin.
type Capabilities struct {
	Observe         bool
	HeaderRoutes    bool
	MirrorRoutes    bool
	Experiments     bool
	MaxWeight       bool
	ExternalEffects bool
}

// Router is one traffic router of the rollout as observe found it.
type Router struct {
	// Plugin is the catalog name.
	Plugin string
	// Path of the block in the Rollout, e.g.
	// "spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI]".
	Path string
	// Config is the user's block byte for byte; for a releasing router the
	// stored one.
	Config json.RawMessage
	// Releasing is true for a router that is only in status.
	Releasing    bool
	Capabilities Capabilities
	// Problem is nil when Observation can be trusted.
	Problem     *Problem
	Observation Observation
	// Remark is what the plugin warns of in a config that is right; "" is
	// nothing. It stops nothing.
	Remark string
}

// Known reports whether the traffic behind the router is known. A releasing
// router whose stored config became invalid refers to something that was
// deleted: it carries nothing. An invalid config may still be observable, so
// that an abort can go on.
func (r Router) Known() bool {
	if r.Problem == nil || r.Problem.Class == ProblemConflict {
		return true
	}
	return r.Problem.Class == ProblemInvalid && (r.Releasing || len(r.Observation.Observed) > 0)
}

// Conflicts reports that another rollout holds a claim: this one must not
// touch the route.
func (r Router) Conflicts() bool {
	return r.Problem != nil && r.Problem.Class == ProblemConflict
}
