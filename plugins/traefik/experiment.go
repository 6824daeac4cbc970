package main

import (
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// serviceView is what an entry has to know of a Service.
type serviceView struct {
	Spec struct {
		Ports []struct {
			Name string `json:"name"`
			Port int32  `json:"port"`
		} `json:"ports"`
	} `json:"spec"`
}

// ports are where experiments that have no entry yet are reached: their Services have the ports of the containers, which
// need not be those of the rollout's Services.
func (c *call) ports(in *objects.Inputs, wanted []share) (map[string]int32, error) {
	needs := map[string]objects.Need{}
	for _, s := range wanted {
		if slices.ContainsFunc(c.experiments, func(i int) bool { return c.entries[i].Name == s.service }) {
			continue
		}
		needs[s.service] = objects.Need{Kind: "Service", Versions: []string{"v1"}, Namespace: c.object.Ref.Namespace, Name: s.service}
		in.Want(needs[s.service])
	}
	ports := map[string]int32{}
	for name, need := range needs {
		found, err := objects.Get[serviceView](in, need)
		if err != nil {
			return nil, err
		}
		if ports[name], err = found.View.port(name, c.stablePort()); err != nil {
			return nil, err
		}
	}

	return ports, nil
}

// stablePort is the number in the stable entry; 0 for a name.
func (c *call) stablePort() int32 {
	if c.stableAt < 0 {
		return 0
	}
	number, _ := c.entries[c.stableAt].Port.(float64)

	return int32(number)
}

// port is the one the stable entry uses if the Service has it, else the one called http, else the first.
func (s serviceView) port(name string, stable int32) (int32, error) {
	ports := s.Spec.Ports
	if len(ports) == 0 {
		return 0, plugin.Blocked("Service %q of the experiment has no port to send to: give the template's containers one", name)
	}
	for _, p := range ports {
		if p.Port == stable {
			return stable, nil
		}
	}
	for _, p := range ports {
		if p.Name == "http" {
			return p.Port, nil
		}
	}

	return ports[0].Port, nil
}
