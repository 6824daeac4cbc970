package main

import (
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const (
	// total is what weights add up to.
	total = 100
	// useAnnotation is the name of a port that says that the backend is an action.
	useAnnotation = "use-annotation"
	// recordKey is the annotation in which an Ingress says what in it the rollouts have put there. What is not recorded is
	// the user's, whatever it looks like.
	recordKey = "alb.sluice.dev/owned"
)

// record is what one rollout has put into one Ingress.
type record struct {
	// Routes are the header routes as they were last asked for, highest precedence first.
	Routes []trafficrouter.ManagedRoute `json:"routes,omitempty"`
	// Services of experiments, which have a target group in the action.
	Services []string `json:"services,omitempty"`
}

// ingress is a view for reading: edits go to the object itself, so that what is not in here stays.
type ingress struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Rules []struct {
			Host string `json:"host"`
			HTTP struct {
				Paths []path `json:"paths"`
			} `json:"http"`
		} `json:"rules"`
	} `json:"spec"`
}

type path struct {
	Path    string `json:"path"`
	Backend struct {
		Service struct {
			Name string `json:"name"`
			Port struct {
				Name string `json:"name"`
			} `json:"port"`
		} `json:"service"`
	} `json:"backend"`
}

// leads says whether a path leads to an action.
func (p path) leads(to string) bool {
	return p.Backend.Service.Name == to && p.Backend.Service.Port.Name == useAnnotation
}

// share is what one Service gets.
type share struct {
	service string
	weight  int32
}

// weights are what the target groups get.
type weights struct {
	stable, canary int32
	experiments    []share
}

// steered is an Ingress with the action the rollout steers.
type steered struct {
	object *objects.Typed[ingress]
	path   string
	record record
	// action is nil where the annotation is not there yet.
	action *action
	// stable, canary and experiments are weights as they are written.
	weights

	// has says which of the two ends have a target group.
	hasStable, hasCanary bool
	// others is the weight of everybody else's target groups, which stays.
	others int32
	// taken are names of managed routes that something in the Ingress bears which is not recorded.
	taken []string
}

// steer reads what an Ingress says. The error is the user's to repair.
func (c *call) steer(object *objects.Typed[ingress], at string) (steered, error) {
	s := steered{object: object, path: at, record: objects.Record[record](object.Object, recordKey, c.rollout)}
	for _, name := range c.names {
		if _, ours := s.recorded(name); !ours && s.uses(name, c.key("actions", name)) {
			s.taken = append(s.taken, name)
		}
	}
	text, ok := object.View.Metadata.Annotations[c.key("actions", c.root)]
	if !ok {
		return s, nil
	}
	parsed, err := parseAction(text)
	if err != nil {
		return s, plugin.InvalidConfig(at, "annotation %s of %v %v: make it a forward action, or remove it", c.key("actions", c.root), object.Ref, err)
	}
	s.action = parsed
	for _, g := range parsed.groups {
		switch {
		case g.service == c.stable && !s.hasStable:
			s.hasStable, s.stable = true, g.weight
		case g.service == c.canary && !s.hasCanary:
			s.hasCanary, s.canary = true, g.weight
		case g.service != "" && slices.Contains(s.record.Services, g.service):
			s.experiments = append(s.experiments, share{g.service, g.weight})
		default:
			s.others += g.weight
		}
	}

	return s, nil
}

// uses says whether an Ingress has an action or a path of this name.
func (s steered) uses(name, annotation string) bool {
	if _, ok := s.object.View.Metadata.Annotations[annotation]; ok {
		return true
	}
	for _, r := range s.object.View.Spec.Rules {
		if slices.ContainsFunc(r.HTTP.Paths, func(p path) bool { return p.leads(name) }) {
			return true
		}
	}

	return false
}

func (s steered) recorded(name string) (trafficrouter.ManagedRoute, bool) {
	at := slices.IndexFunc(s.record.Routes, func(m trafficrouter.ManagedRoute) bool { return m.Name == name })
	if at < 0 {
		return trafficrouter.ManagedRoute{}, false
	}

	return s.record.Routes[at], true
}

// found is what the target groups of the rollout get of 100 that it has. One that gets anything never shows as 0. Without an
// action there is no traffic at all, so stable might as well have it.
func (s steered) found() weights {
	if s.action == nil {
		return weights{stable: total}
	}
	raw := []int32{s.stable, s.canary}
	for _, e := range s.experiments {
		raw = append(raw, e.weight)
	}
	all := trafficrouter.Normalize(total, raw...)
	w := weights{stable: all[0], canary: all[1]}
	for i, e := range s.experiments {
		w.experiments = append(w.experiments, share{e.service, all[i+2]})
	}

	return w
}

// routes are the header routes that are there, highest precedence first, and what only bears the name of one: it may take
// traffic like one.
func (s steered) routes() []trafficrouter.ManagedRoute {
	var all []trafficrouter.ManagedRoute
	for _, r := range s.object.View.Spec.Rules {
		for _, p := range r.HTTP.Paths {
			m, ours := s.recorded(p.Backend.Service.Name)
			if ours && p.leads(m.Name) && !slices.ContainsFunc(all, func(have trafficrouter.ManagedRoute) bool { return have.Name == m.Name }) {
				all = append(all, m)
			}
		}
	}
	for _, name := range s.taken {
		all = append(all, trafficrouter.ManagedRoute{Name: name, Header: &trafficrouter.HeaderRoute{}})
	}

	return all
}

func (s steered) takenError() error {
	if len(s.taken) == 0 {
		return nil
	}

	return plugin.Blocked("%v has an action or a path with the name %q of a managed route, which is not recorded as one: remove it, or rename it",
		s.object.Ref, s.taken[0])
}

// check refuses what can be seen to be wrong before anything moves.
func (c *call) check(s steered) error {
	leads := false
	for _, r := range s.object.View.Spec.Rules {
		for _, p := range r.HTTP.Paths {
			if p.Backend.Service.Name == c.root && p.Backend.Service.Port.Name != useAnnotation {
				return plugin.InvalidConfig(s.path, "%v has a path %q to Service %q by a port: the load balancer takes the weights of the action only "+
					"where the port's name is %s", s.object.Ref, p.Path, c.root, useAnnotation)
			}
			leads = leads || p.leads(c.root)
		}
	}
	if !leads {
		return plugin.InvalidConfig(s.path, "%v has no path to Service %q with the port's name %s: add one", s.object.Ref, c.root, useAnnotation)
	}
	if sum := s.stable + s.canary; s.others > 0 && len(s.experiments) == 0 && sum != total {
		return plugin.InvalidConfig(s.path, "weights of %q and %q in annotation %s of %v sum to %d: beside target groups of others they have to "+
			"sum to %d, or the first step would change the others' share", c.stable, c.canary, c.key("actions", c.root), s.object.Ref, sum, total)
	}
	if err := s.takenError(); err != nil {
		return plugin.InvalidConfig(s.path, "%v", err)
	}

	return nil
}

func (c *call) place(s steered) string {
	return fmt.Sprintf("Ingress/%s/%s", s.object.Ref.Namespace, s.object.Ref.Name)
}
