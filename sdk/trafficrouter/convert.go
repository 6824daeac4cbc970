package trafficrouter

import (
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	routerv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/trafficrouter/v1"
)

func trafficFrom(t *routerv1.Traffic) (Traffic, error) {
	traffic := Traffic{TotalWeight: t.GetTotalWeight(), ManagedNames: t.GetManagedNames()}
	for _, d := range t.GetDestinations() {
		traffic.Destinations = append(traffic.Destinations, Destination{
			Role:            roleFrom(d.GetRole()),
			Service:         d.GetService(),
			PodTemplateHash: d.GetPodTemplateHash(),
			Weight:          d.GetWeight(),
		})
	}
	routes, err := managedFrom(t.GetManagedRoutes())
	traffic.ManagedRoutes = routes

	return traffic, err
}

func claimsFrom(claims []*routerv1.Claim) Claims {
	var out Claims
	for _, c := range claims {
		o := c.GetObject()
		out = append(out, Claim{Key: c.GetKey(), Object: objects.Ref{
			Group: o.GetGroup(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(),
		}})
	}

	return out
}

func roleFrom(role routerv1.Role) Role {
	switch role {
	case routerv1.Role_ROLE_STABLE:
		return RoleStable
	case routerv1.Role_ROLE_CANARY:
		return RoleCanary
	case routerv1.Role_ROLE_EXPERIMENT:
		return RoleExperiment
	case routerv1.Role_ROLE_UNSPECIFIED:
		fallthrough
	default:
		return RoleUnknown
	}
}

func roleProto(role Role) routerv1.Role {
	switch role {
	case RoleStable:
		return routerv1.Role_ROLE_STABLE
	case RoleCanary:
		return routerv1.Role_ROLE_CANARY
	case RoleExperiment:
		return routerv1.Role_ROLE_EXPERIMENT
	case RoleUnknown:
		fallthrough
	default:
		return routerv1.Role_ROLE_UNSPECIFIED
	}
}

// managedFrom fails on a kind of route that is newer than this SDK: leaving it out would lose the user's traffic.
func managedFrom(routes []*routerv1.ManagedRoute) ([]ManagedRoute, error) {
	managed := make([]ManagedRoute, 0, len(routes))
	for _, route := range routes {
		one := ManagedRoute{Name: route.GetName()}
		switch kind := route.GetKind().(type) {
		case *routerv1.ManagedRoute_Header:
			one.Header = &HeaderRoute{Match: headersFrom(kind.Header.GetMatch())}
		case *routerv1.ManagedRoute_Mirror:
			one.Mirror = &MirrorRoute{Percentage: kind.Mirror.GetPercentage()}
			for _, match := range kind.Mirror.GetMatch() {
				one.Mirror.Match = append(one.Mirror.Match, RequestMatch{
					Method:  stringFrom(match.GetMethod()),
					Path:    stringFrom(match.GetPath()),
					Headers: headersFrom(match.GetHeaders()),
				})
			}
		default:
			return nil, plugin.Unsupported("managed route %q is of a kind this plugin does not know", route.GetName())
		}
		managed = append(managed, one)
	}
	if len(managed) == 0 {
		return nil, nil
	}

	return managed, nil
}

func headersFrom(matches []*routerv1.HeaderMatch) []HeaderMatch {
	var headers []HeaderMatch
	for _, match := range matches {
		headers = append(headers, HeaderMatch{Name: match.GetName(), Value: stringFrom(match.GetValue())})
	}

	return headers
}

func stringFrom(match *routerv1.StringMatch) StringMatch {
	switch kind := match.GetKind().(type) {
	case *routerv1.StringMatch_Exact:
		return StringMatch{MatchExact, kind.Exact}
	case *routerv1.StringMatch_Prefix:
		return StringMatch{MatchPrefix, kind.Prefix}
	case *routerv1.StringMatch_Regex:
		return StringMatch{MatchRegex, kind.Regex}
	default:
		return StringMatch{}
	}
}

// Proto converts traffic to the wire; for hosts and tests.
func (t Traffic) Proto() *routerv1.Traffic {
	traffic := &routerv1.Traffic{TotalWeight: t.TotalWeight, ManagedNames: t.ManagedNames}
	for _, d := range t.Destinations {
		traffic.Destinations = append(traffic.Destinations, &routerv1.Destination{
			Role:            roleProto(d.Role),
			Service:         d.Service,
			PodTemplateHash: d.PodTemplateHash,
			Weight:          d.Weight,
		})
	}
	for _, route := range t.ManagedRoutes {
		traffic.ManagedRoutes = append(traffic.ManagedRoutes, route.proto())
	}

	return traffic
}

func (r ManagedRoute) proto() *routerv1.ManagedRoute {
	route := &routerv1.ManagedRoute{Name: r.Name}
	switch {
	case r.Header != nil:
		route.Kind = &routerv1.ManagedRoute_Header{Header: &routerv1.HeaderRoute{Match: headersProto(r.Header.Match)}}
	case r.Mirror != nil:
		mirror := &routerv1.MirrorRoute{Percentage: r.Mirror.Percentage}
		for _, match := range r.Mirror.Match {
			mirror.Match = append(mirror.Match, &routerv1.RequestMatch{
				Method:  match.Method.proto(),
				Path:    match.Path.proto(),
				Headers: headersProto(match.Headers),
			})
		}
		route.Kind = &routerv1.ManagedRoute_Mirror{Mirror: mirror}
	}

	return route
}

func headersProto(matches []HeaderMatch) []*routerv1.HeaderMatch {
	var headers []*routerv1.HeaderMatch
	for _, match := range matches {
		headers = append(headers, &routerv1.HeaderMatch{Name: match.Name, Value: match.Value.proto()})
	}

	return headers
}

func (m StringMatch) proto() *routerv1.StringMatch {
	switch m.Kind {
	case MatchExact:
		return &routerv1.StringMatch{Kind: &routerv1.StringMatch_Exact{Exact: m.Value}}
	case MatchPrefix:
		return &routerv1.StringMatch{Kind: &routerv1.StringMatch_Prefix{Prefix: m.Value}}
	case MatchRegex:
		return &routerv1.StringMatch{Kind: &routerv1.StringMatch_Regex{Regex: m.Value}}
	case MatchAny:
		fallthrough
	default:
		return nil
	}
}

func convergenceProto(c Convergence) routerv1.Convergence {
	switch c {
	case Pending:
		return routerv1.Convergence_CONVERGENCE_PENDING
	case Done:
		return routerv1.Convergence_CONVERGENCE_DONE
	case Unknown:
		fallthrough
	default:
		return routerv1.Convergence_CONVERGENCE_UNKNOWN
	}
}
