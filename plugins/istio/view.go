package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
)

// virtualService is a view for reading: edits go to the object itself, so that what is not in here stays.
type virtualService struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		HTTP []route `json:"http"`
		TLS  []route `json:"tls"`
		TCP  []route `json:"tcp"`
	} `json:"spec"`
}

// route is what the routes of all protocols have in common.
type route struct {
	Name  string     `json:"name"`
	Match []match    `json:"match"`
	Route []weighted `json:"route"`
}

type match struct {
	Port     int64    `json:"port"`
	SNIHosts []string `json:"sniHosts"`
}

type weighted struct {
	Destination destination `json:"destination"`
	Weight      *int32      `json:"weight"`
}

type destination struct {
	Host   string `json:"host"`
	Subset string `json:"subset"`
}

// destinationRule is a view for reading, too.
type destinationRule struct {
	Spec struct {
		Host    string   `json:"host"`
		Subsets []subset `json:"subsets"`
	} `json:"spec"`
}

type subset struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// protocols are the sections of a VirtualService, in their order.
var protocols = []string{"http", "tls", "tcp"}

func (v virtualService) routes(protocol string) []route {
	switch protocol {
	case "http":
		return v.Spec.HTTP
	case "tls":
		return v.Spec.TLS
	default:
		return v.Spec.TCP
	}
}

// weightOf is a destination's weight. Istio gives everything to the only destination, and nothing to one of several that
// says nothing.
func (r route) weightOf(i int) int32 {
	switch w := r.Route[i].Weight; {
	case w != nil:
		return *w
	case len(r.Route) == 1:
		return 100
	default:
		return 0
	}
}

// host is a destination's host in full: Istio completes short names with the namespace of the object that holds them.
func fullHost(host, namespace string) string {
	name, rest, dotted := strings.Cut(host, ".")
	if !dotted {
		return name + "." + namespace + ".svc"
	}
	in, domain, more := strings.Cut(rest, ".")
	switch {
	case !more:
		return name + "." + in + ".svc"
	case domain == "svc" || strings.HasPrefix(domain, "svc."):
		return name + "." + in + ".svc"
	default:
		return host // Not a Service of the cluster.
	}
}

// ends are the two destinations a rollout splits between.
type ends struct {
	// hosts in full, the same for both in a split between subsets.
	stableHost, canaryHost string
	// subsets are empty in a split between Services.
	stableSubset, canarySubset string
	// namespace of the rollout.
	namespace string
}

// at finds the destinations of a route that are the one end; there should be one.
func (e ends) at(o *objects.Typed[virtualService], r route, host, subset string) []int {
	var found []int
	for i, w := range r.Route {
		sameSubset := subset == "" || w.Destination.Subset == subset
		if sameSubset && fullHost(w.Destination.Host, o.Ref.Namespace) == host {
			found = append(found, i)
		}
	}

	return found
}

func (e ends) stable(o *objects.Typed[virtualService], r route) []int {
	return e.at(o, r, e.stableHost, e.stableSubset)
}

func (e ends) canary(o *objects.Typed[virtualService], r route) []int {
	return e.at(o, r, e.canaryHost, e.canarySubset)
}

// describe names an end for people.
func describe(host, subset string) string {
	if subset != "" {
		return fmt.Sprintf("subset %q of %s", subset, host)
	}

	return "host " + host
}

// choose returns the indices of the routes of a protocol that the configuration means, with the names users call them by.
// The error is the user's to repair.
func (s selection) choose(o *objects.Typed[virtualService], protocol string, e ends, own owned) ([]int, error) {
	routes := o.View.routes(protocol)
	switch {
	case protocol == "http" && len(s.Routes) > 0:
		return s.chooseNamed(o, routes, own)
	case protocol == "tls" && len(s.TLSRoutes) > 0:
		var found []int
		for i, want := range s.TLSRoutes {
			at := slices.IndexFunc(routes, func(r route) bool { return r.isTLS(want) })
			if at < 0 {
				return nil, fmt.Errorf("%v has no TLS route that matches exactly port %d and the hosts %s (%s.tlsRoutes[%d])",
					o.Ref, want.Port, strings.Join(want.SNIHosts, ", "), s.path, i)
			}
			found = append(found, at)
		}

		return found, nil
	case protocol == "tcp" && len(s.TCPRoutes) > 0:
		var found []int
		for i, want := range s.TCPRoutes {
			at := slices.IndexFunc(routes, func(r route) bool { return r.port() == want.Port })
			if at < 0 {
				return nil, fmt.Errorf("%v has no TCP route that matches exactly port %d (%s.tcpRoutes[%d])", o.Ref, want.Port, s.path, i)
			}
			found = append(found, at)
		}

		return found, nil
	default:
		return s.chooseOnly(o, protocol, routes, e, own)
	}
}

func (s selection) chooseNamed(o *objects.Typed[virtualService], routes []route, own owned) ([]int, error) {
	var found []int
	for _, name := range s.Routes {
		at := slices.IndexFunc(routes, func(r route) bool { return r.Name == name })
		switch {
		case at < 0:
			return nil, fmt.Errorf("%v has no HTTP route named %q", o.Ref, name)
		case own.by[at] != "":
			return nil, fmt.Errorf("HTTP route %q of %v is a managed route: name the one it was made from", name, o.Ref)
		case !slices.Contains(found, at):
			found = append(found, at)
		}
	}

	return found, nil
}

// chooseOnly takes the only route of a protocol. With several the user has to say which, unless another protocol is what
// they named.
func (s selection) chooseOnly(o *objects.Typed[virtualService], protocol string, routes []route, e ends, own owned) ([]int, error) {
	var theirs []int
	for i := range routes {
		if protocol != "http" || own.by[i] == "" {
			theirs = append(theirs, i)
		}
	}
	named := len(s.Routes)+len(s.TLSRoutes)+len(s.TCPRoutes) > 0
	switch {
	case len(theirs) == 0:
		return nil, nil
	case len(theirs) == 1 && (!named || len(e.stable(o, routes[theirs[0]])) > 0):
		return theirs, nil
	case named:
		return nil, nil
	default:
		field := map[string]string{"http": "routes", "tls": "tlsRoutes", "tcp": "tcpRoutes"}[protocol]

		return nil, fmt.Errorf("%v has %d %s routes: say in %s.%s which of them to split", o.Ref, len(theirs), protocol, s.path, field)
	}
}

// port is the one port all matches of a route have, 0 if there is no such.
func (r route) port() int64 {
	var port int64
	for _, m := range r.Match {
		if m.Port == 0 || port != 0 && m.Port != port {
			return 0
		}
		port = m.Port
	}

	return port
}

// isTLS says whether a route matches exactly a port and a set of hosts.
func (r route) isTLS(want tlsConfig) bool {
	var hosts []string
	for _, m := range r.Match {
		hosts = append(hosts, m.SNIHosts...)
	}
	sorted := func(list []string) []string {
		list = slices.Clone(list)
		slices.Sort(list)

		return slices.Compact(list)
	}

	return r.port() == want.Port && slices.Equal(sorted(hosts), sorted(want.SNIHosts))
}
