package main

import (
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// maxExperiments is what a rule has room for beside stable and canary.
const maxExperiments = maxBackendRefs - 2

// MaxExperiments is how many destinations of experiments fit into one rule.
func (router) MaxExperiments() int { return maxExperiments }

// serviceView is what a backendRef has to know of a Service.
type serviceView struct {
	Spec struct {
		Ports []struct {
			Name string `json:"name"`
			Port int32  `json:"port"`
		} `json:"ports"`
	} `json:"spec"`
}

// port is the port of an experiment's Service to send to: the canary's if it has it, else the one called http, else its
// first. Experiments' Services have the ports of the containers, which need not be those of the rollout's Services.
func (s serviceView) port(name string, canary int32) (int32, error) {
	ports := s.Spec.Ports
	if len(ports) == 0 {
		return 0, plugin.Blocked("Service %q of the experiment has no port to send to: give the template's containers one", name)
	}
	for _, p := range ports {
		if p.Port == canary {
			return canary, nil
		}
	}
	for _, p := range ports {
		if p.Name == "http" {
			return p.Port, nil
		}
	}

	return ports[0].Port, nil
}
