package plugins

import (
	"math"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	trafficrouterv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

func routerCapabilities(answer *trafficrouterv1.CapabilitiesResponse) rollout.Capabilities {
	var c rollout.Capabilities
	for _, one := range answer.GetCapabilities() {
		switch one {
		case trafficrouterv1.Capability_CAPABILITY_OBSERVE:
			c.Observe = true
		case trafficrouterv1.Capability_CAPABILITY_HEADER_ROUTES:
			c.HeaderRoutes = true
		case trafficrouterv1.Capability_CAPABILITY_MIRROR_ROUTES:
			c.MirrorRoutes = true
		case trafficrouterv1.Capability_CAPABILITY_EXPERIMENTS:
			c.Experiments = true
		case trafficrouterv1.Capability_CAPABILITY_MAX_WEIGHT:
			c.MaxWeight = true
		case trafficrouterv1.Capability_CAPABILITY_EXTERNAL_EFFECTS:
			c.ExternalEffects = true
		case trafficrouterv1.Capability_CAPABILITY_UNSPECIFIED:
		}
	}
	return c
}

func trafficTo(t rollout.Traffic) *trafficrouterv1.Traffic {
	w := &trafficrouterv1.Traffic{
		TotalWeight: t.TotalWeight, ManagedRoutes: managedTo(t.Managed), ManagedNames: t.ManagedNames,
	}
	for _, d := range t.Destinations {
		w.Destinations = append(w.Destinations, &trafficrouterv1.Destination{
			Role: roleTo(d.Role), Service: d.Service, PodTemplateHash: d.Hash, Weight: d.Weight,
		})
	}
	return w
}

// releaseTo is the state to leave behind: stable has everything.
func releaseTo(r rollout.Release) *trafficrouterv1.Release {
	return &trafficrouterv1.Release{Traffic: &trafficrouterv1.Traffic{
		TotalWeight: r.TotalWeight,
		Destinations: []*trafficrouterv1.Destination{
			{Role: trafficrouterv1.Role_ROLE_STABLE, Service: r.StableService, Weight: r.TotalWeight},
			{Role: trafficrouterv1.Role_ROLE_CANARY, Service: r.CanaryService},
		},
		ManagedNames: r.ManagedNames,
	}, Kept: claimsTo(r.Kept)}
}

func claimsTo(claims []rollout.Claim) []*trafficrouterv1.Claim {
	var out []*trafficrouterv1.Claim
	for _, c := range claims {
		if gk, namespace, name, ok := rollout.ParseObjectName(c.Object); ok {
			out = append(out, &trafficrouterv1.Claim{Key: c.Key, Object: &typesv1.ObjectRef{
				Group: gk.Group, Kind: gk.Kind, Namespace: namespace, Name: name,
			}})
		}
	}
	return out
}

func roleTo(r rollout.Role) trafficrouterv1.Role {
	switch r {
	case rollout.RoleStable:
		return trafficrouterv1.Role_ROLE_STABLE
	case rollout.RoleCanary:
		return trafficrouterv1.Role_ROLE_CANARY
	case rollout.RoleExperiment:
		return trafficrouterv1.Role_ROLE_EXPERIMENT
	}
	return trafficrouterv1.Role_ROLE_UNSPECIFIED
}

func envelopeTo(e rollout.Envelope) *trafficrouterv1.Envelope {
	return &trafficrouterv1.Envelope{
		TotalWeight: e.TotalWeight, ManagedRoutes: managedTo(e.ManagedRoutes),
		MaxExperimentDestinations: e.MaxDestinations, PingPong: e.PingPong,
	}
}

func managedTo(routes []rollout.ManagedRoute) []*trafficrouterv1.ManagedRoute {
	var out []*trafficrouterv1.ManagedRoute
	for _, r := range routes {
		w := &trafficrouterv1.ManagedRoute{Name: r.Name}
		if r.Mirror != nil {
			mirror := &trafficrouterv1.MirrorRoute{Percentage: r.Mirror.Percentage}
			for _, m := range r.Mirror.Match {
				mirror.Match = append(mirror.Match, &trafficrouterv1.RequestMatch{
					Method: matchTo(m.Method), Path: matchTo(m.Path), Headers: headersTo(m.Headers),
				})
			}
			w.Kind = &trafficrouterv1.ManagedRoute_Mirror{Mirror: mirror}
		} else {
			w.Kind = &trafficrouterv1.ManagedRoute_Header{Header: &trafficrouterv1.HeaderRoute{Match: headersTo(r.Header)}}
		}
		out = append(out, w)
	}
	return out
}

func headersTo(matches []rollout.HeaderMatch) []*trafficrouterv1.HeaderMatch {
	var out []*trafficrouterv1.HeaderMatch
	for _, m := range matches {
		out = append(out, &trafficrouterv1.HeaderMatch{Name: m.Name, Value: matchTo(&m.Value)})
	}
	return out
}

func matchTo(m *rollout.StringMatch) *trafficrouterv1.StringMatch {
	switch {
	case m == nil:
		return nil
	case m.Prefix != "":
		return &trafficrouterv1.StringMatch{Kind: &trafficrouterv1.StringMatch_Prefix{Prefix: m.Prefix}}
	case m.Regex != "":
		return &trafficrouterv1.StringMatch{Kind: &trafficrouterv1.StringMatch_Regex{Regex: m.Regex}}
	}
	return &trafficrouterv1.StringMatch{Kind: &trafficrouterv1.StringMatch_Exact{Exact: m.Exact}}
}

// observationFrom checks an observation and scales it to the rollout's total.
func observationFrom(a *trafficrouterv1.ObserveResponse, req rollout.ObserveRequest) (rollout.Observation, error) {
	o := rollout.Observation{Message: remark(a.GetMessage())}
	if n := len(a.GetObserved()); n > maxObserved {
		return o, broken("it observed %d places, more than %d", n, maxObserved)
	}
	places := map[string]bool{}
	for i, at := range a.GetObserved() {
		place := at.GetPlace()
		if place == "" || len(place) > maxName || places[place] {
			return o, broken("observed[%d].place %q is empty, too long or there twice", i, cut(place, 80))
		}
		places[place] = true
		traffic, err := observedTraffic(at.GetTraffic(), req)
		if err != nil {
			return o, broken("observed[%d].traffic: %v", i, err)
		}
		o.Observed = append(o.Observed, rollout.Observed{Place: place, Traffic: traffic, Residue: at.GetResidue()})
	}
	switch a.GetConvergence() {
	case trafficrouterv1.Convergence_CONVERGENCE_DONE:
		o.Convergence = rollout.ConvergenceDone
	case trafficrouterv1.Convergence_CONVERGENCE_UNKNOWN:
		o.Convergence = rollout.ConvergenceUnknown
	case trafficrouterv1.Convergence_CONVERGENCE_PENDING, trafficrouterv1.Convergence_CONVERGENCE_UNSPECIFIED:
		fallthrough
	default:
		// What the host cannot read holds.
		o.Convergence = rollout.ConvergencePending
	}
	var err error
	if o.Settle, err = durationFrom("settle", a.GetSettle()); err != nil {
		return o, err
	}
	if o.Recheck, err = durationFrom("recheck_after", a.GetRecheckAfter()); err != nil {
		return o, err
	}
	if o.Recheck > 0 {
		o.Recheck = max(o.Recheck, minRecheck)
	}
	o.Claims, err = claimsFrom(a.GetClaims())
	return o, err
}

// routeConvergence is what a router that cannot observe says with Route. What is
// written now is taken over later; what the host cannot read holds.
func routeConvergence(a *trafficrouterv1.RouteResponse) rollout.Convergence {
	switch c := a.GetConvergence(); {
	case c == trafficrouterv1.Convergence_CONVERGENCE_UNSPECIFIED, c == trafficrouterv1.Convergence_CONVERGENCE_UNKNOWN:
		return ""
	case c == trafficrouterv1.Convergence_CONVERGENCE_DONE && len(a.GetWrites()) == 0:
		return rollout.ConvergenceDone
	}
	return rollout.ConvergencePending
}

func claimsFrom(claims []*trafficrouterv1.Claim) ([]rollout.Claim, error) {
	if len(claims) > maxClaims {
		return nil, broken("it claims %d backends, more than %d", len(claims), maxClaims)
	}
	var out []rollout.Claim
	for i, c := range claims {
		ref := c.GetObject()
		if ref.GetKind() == "" || ref.GetName() == "" || c.GetKey() == "" {
			return nil, broken("claims[%d] lacks kind, name or key", i)
		}
		claim := rollout.Claim{
			Object: rollout.ObjectName(schema.GroupKind{Group: ref.GetGroup(), Kind: ref.GetKind()}, ref.GetNamespace(), ref.GetName()),
			Key:    c.GetKey(),
		}
		if len(claim.Object) > maxName || len(claim.Key) > maxName {
			return nil, broken("claims[%d] is too long", i)
		}
		out = append(out, claim)
	}
	return out, nil
}

func observedTraffic(t *trafficrouterv1.Traffic, req rollout.ObserveRequest) (rollout.Traffic, error) {
	out := rollout.Traffic{TotalWeight: req.TotalWeight}
	if t == nil {
		return out, broken("it is missing")
	}
	if len(t.GetDestinations()) > maxTargets || len(t.GetManagedRoutes()) > maxTargets {
		return out, broken("more than %d destinations or managed routes", maxTargets)
	}
	var sum int64
	for i, d := range t.GetDestinations() {
		if d.GetWeight() < 0 {
			return out, broken("destinations[%d].weight is %d", i, d.GetWeight())
		}
		if len(d.GetService()) > maxName || len(d.GetPodTemplateHash()) > maxName {
			return out, broken("destinations[%d] is too long", i)
		}
		role, err := roleFrom(d, req.Target)
		if err != nil {
			return out, broken("destinations[%d]: %v", i, err)
		}
		sum += int64(d.GetWeight())
		out.Destinations = append(out.Destinations, rollout.Destination{
			Role: role, Service: d.GetService(), Hash: d.GetPodTemplateHash(), Weight: d.GetWeight(),
		})
	}
	if sum > 0 && t.GetTotalWeight() <= 0 {
		return out, broken("total_weight is %d", t.GetTotalWeight())
	}
	scale(out.Destinations, max(sum, int64(t.GetTotalWeight())), int64(req.TotalWeight))
	names := map[string]bool{}
	for i, m := range t.GetManagedRoutes() {
		if m.GetName() == "" || len(m.GetName()) > maxName || names[m.GetName()] {
			return out, broken("managed_routes[%d].name %q is empty, too long or there twice", i, cut(m.GetName(), 80))
		}
		names[m.GetName()] = true
		out.Managed = append(out.Managed, managedFrom(m))
	}
	return out, nil
}

// roleFrom finds out by the Service's name what the plugin cannot tell.
func roleFrom(d *trafficrouterv1.Destination, t rollout.Target) (rollout.Role, error) {
	switch d.GetRole() {
	case trafficrouterv1.Role_ROLE_STABLE:
		return rollout.RoleStable, nil
	case trafficrouterv1.Role_ROLE_CANARY:
		return rollout.RoleCanary, nil
	case trafficrouterv1.Role_ROLE_EXPERIMENT:
		return rollout.RoleExperiment, nil
	case trafficrouterv1.Role_ROLE_UNSPECIFIED:
		switch name := d.GetService(); {
		case name != "" && name == t.StableService:
			return rollout.RoleStable, nil
		case name != "" && name == t.CanaryService:
			return rollout.RoleCanary, nil
		}
		return "", nil
	}
	return "", broken("role is %d", d.GetRole())
}

// scale turns weights out of from into weights out of to. Nothing that carries
// traffic becomes 0: a destination that carries some is not safe to touch.
func scale(to []rollout.Destination, from, total int64) {
	if from == total || from <= 0 || total <= 0 {
		return
	}
	for i := range to {
		if to[i].Weight > 0 {
			exact := float64(to[i].Weight) * float64(total) / float64(from)
			to[i].Weight = int32(min(max(math.Round(exact), 1), float64(total))) //nolint:gosec // At most total, an int32.
		}
	}
}

func managedFrom(m *trafficrouterv1.ManagedRoute) rollout.ManagedRoute {
	out := rollout.ManagedRoute{Name: m.GetName(), Header: headersFrom(m.GetHeader().GetMatch())}
	if mirror := m.GetMirror(); mirror != nil {
		out.Mirror = &rollout.MirrorRoute{Percentage: mirror.GetPercentage()}
		for _, r := range mirror.GetMatch() {
			out.Mirror.Match = append(out.Mirror.Match, rollout.RouteMatch{
				Method: matchFrom(r.GetMethod()), Path: matchFrom(r.GetPath()), Headers: headersFrom(r.GetHeaders()),
			})
		}
	}
	return out
}

func headersFrom(matches []*trafficrouterv1.HeaderMatch) []rollout.HeaderMatch {
	var out []rollout.HeaderMatch
	for _, m := range matches {
		h := rollout.HeaderMatch{Name: m.GetName()}
		if v := matchFrom(m.GetValue()); v != nil {
			h.Value = *v
		}
		out = append(out, h)
	}
	return out
}

func matchFrom(m *trafficrouterv1.StringMatch) *rollout.StringMatch {
	if m == nil {
		return nil
	}
	return &rollout.StringMatch{Exact: m.GetExact(), Prefix: m.GetPrefix(), Regex: m.GetRegex()}
}
