package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// server is a view of a VirtualServer or a VirtualServerRoute, for reading: edits go to the object itself.
type server struct {
	Metadata struct {
		Generation  int64             `json:"generation"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Upstreams []struct {
			Name    string `json:"name"`
			Service string `json:"service"`
		} `json:"upstreams"`
		Routes    []serverRoute `json:"routes"`
		Subroutes []serverRoute `json:"subroutes"`
	} `json:"spec"`
	Status struct {
		State              string `json:"state"`
		Message            string `json:"message"`
		ObservedGeneration int64  `json:"observedGeneration"`
	} `json:"status"`
}

type serverRoute struct {
	Path    string  `json:"path"`
	Splits  []share `json:"splits"`
	Matches []struct {
		Splits []share `json:"splits"`
	} `json:"matches"`
}

type share struct {
	Weight int32 `json:"weight"`
	Action struct {
		Pass  string `json:"pass"`
		Proxy struct {
			Upstream string `json:"upstream"`
		} `json:"proxy"`
	} `json:"action"`
}

func (s share) upstream() string {
	if s.Action.Pass != "" {
		return s.Action.Pass
	}

	return s.Action.Proxy.Upstream
}

// field is where a kind keeps its routes.
func field(kind string) string {
	if kind == "VirtualServerRoute" {
		return "subroutes"
	}

	return "routes"
}

func (s server) routes(kind string) []serverRoute {
	if field(kind) == "subroutes" {
		return s.Spec.Subroutes
	}

	return s.Spec.Routes
}

// upstreams are the names of those that lead to a Service.
func (s server) upstreams(service string) []string {
	var names []string
	for _, u := range s.Spec.Upstreams {
		if u.Service == service {
			names = append(names, u.Name)
		}
	}

	return names
}

// split is a list of splits that has one to stable and one to the canary: of a route, or of one of its matches.
type split struct {
	route int
	path  string
	// match is the index of the match, -1 for the route's own. nth counts only matches that split, so that it stays when
	// others come and go before it.
	match, nth int
	// stableAt and canaryAt are indices of the list, whose weights these are.
	stableAt, canaryAt int
	stable, canary     int32
	// upstream is the canary's.
	upstream string
}

// at is the path of the list in the object.
func (s split) at(kind string) []any {
	at := []any{"spec", field(kind), s.route}
	if s.match >= 0 {
		at = append(at, "matches", s.match)
	}

	return append(at, "splits")
}

// findSplits are the lists of one object that split between two Services, in the routes with these paths or in all.
func findSplits(o *objects.Typed[server], paths []string, stable, canary string) ([]split, error) {
	var (
		found []split
		from  = o.View.upstreams(stable)
		to    = o.View.upstreams(canary)
		kind  = o.Ref.Kind
	)
	for _, want := range paths {
		if !slices.ContainsFunc(o.View.routes(kind), func(r serverRoute) bool { return r.Path == want }) {
			return nil, fmt.Errorf("%v has no route with path %q: correct the path", o.Ref, want)
		}
	}
	for i, route := range o.View.routes(kind) {
		if len(paths) > 0 && !slices.Contains(paths, route.Path) {
			continue
		}
		before := len(found)
		lists := [][]share{route.Splits}
		for _, m := range route.Matches {
			lists = append(lists, m.Splits)
		}
		nth := -1
		for j, list := range lists {
			if j > 0 && len(list) > 0 {
				nth++
			}
			one := split{route: i, path: route.Path, match: j - 1, nth: nth}
			one.stableAt = slices.IndexFunc(list, func(s share) bool { return slices.Contains(from, s.upstream()) })
			one.canaryAt = slices.IndexFunc(list, func(s share) bool { return slices.Contains(to, s.upstream()) })
			if one.stableAt < 0 || one.canaryAt < 0 {
				continue
			}
			if len(list) > 2 {
				return nil, fmt.Errorf("route %q of %v splits among %d actions, and the weights of two cannot be set without the others': leave stable and canary in it",
					route.Path, o.Ref, len(list))
			}
			one.stable, one.canary, one.upstream = list[one.stableAt].Weight, list[one.canaryAt].Weight, list[one.canaryAt].upstream()
			found = append(found, one)
		}
		if len(paths) > 0 && len(found) == before {
			return nil, fmt.Errorf("route %q of %v does not split between the Services %s and %s: write splits with one action that passes to an upstream of each, weights 100 and 0",
				route.Path, o.Ref, stable, canary)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%v has no route that splits between the Services %s and %s: write splits with one action that passes to an upstream of each, weights 100 and 0",
			o.Ref, stable, canary)
	}

	return found, nil
}

// serverRecord is what one rollout has put into one object, in the annotation recordKey, by rollout.
type serverRecord struct {
	// Routes are the header routes as they were asked for, in order of precedence.
	Routes []trafficrouter.ManagedRoute `json:"routes,omitempty"`
	// Matches are what makes them, by the path of their route: what is not in here is the user's.
	Matches map[string][]json.RawMessage `json:"matches,omitempty"`
}

func readRecord(o *objects.Typed[server], rollout string) serverRecord {
	return objects.Record[serverRecord](o.Object, recordKey, rollout)
}

// keep replaces the rollout's record in the object, and leaves those of others.
func (r serverRecord) keep(o *objects.Object, rollout string) error {
	if len(r.Routes) == 0 {
		return objects.SetRecord(o, recordKey, rollout, nil)
	}

	return objects.SetRecord(o, recordKey, rollout, r)
}
