package trafficrouter

import (
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// ExperimentPorts are the ports under which the Services of experiments are reached, by Service. An experiment's Service
// has the ports of its containers, which need not be those of the rollout's Services: the usual one if it has it, else the
// one called http, else its first.
//
// It wants each Service as an input; a method of a plugin returns its error as it is. A Service without ports is
// plugin.Blocked.
func ExperimentPorts(in *objects.Inputs, namespace string, services []string, usual int32) (map[string]int32, error) {
	need := func(service string) objects.Need {
		return objects.Need{Kind: "Service", Versions: []string{"v1"}, Namespace: namespace, Name: service}
	}
	for _, service := range services {
		in.Want(need(service))
	}
	if err := in.Missing(); err != nil {
		return nil, err
	}
	ports := map[string]int32{}
	for _, service := range services {
		found, err := objects.Get[serviceView](in, need(service))
		if err != nil {
			return nil, err
		}
		if ports[service], err = found.View.port(service, usual); err != nil {
			return nil, err
		}
	}

	return ports, nil
}

// serviceView is what a destination has to know of a Service.
type serviceView struct {
	Spec struct {
		Ports []struct {
			Name string `json:"name"`
			Port int32  `json:"port"`
		} `json:"ports"`
	} `json:"spec"`
}

func (s serviceView) port(name string, usual int32) (int32, error) {
	ports := s.Spec.Ports
	if len(ports) == 0 {
		return 0, plugin.Blocked("Service %q of the experiment has no port to send to: give the template's containers one", name)
	}
	for _, p := range ports {
		if p.Port == usual {
			return usual, nil
		}
	}
	for _, p := range ports {
		if p.Name == "http" {
			return p.Port, nil
		}
	}

	return ports[0].Port, nil
}
