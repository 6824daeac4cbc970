package main

import (
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// ports are those of experiments that have no entry yet.
func (c *call) ports(in *objects.Inputs, wanted []share) (map[string]int32, error) {
	var services []string
	for _, s := range wanted {
		if !slices.ContainsFunc(c.experiments, func(i int) bool { return c.entries[i].Name == s.service }) {
			services = append(services, s.service)
		}
	}

	return trafficrouter.ExperimentPorts(in, c.object.Ref.Namespace, services, c.stablePort())
}

// stablePort is the number in the stable entry; 0 for a name.
func (c *call) stablePort() int32 {
	if c.stableAt < 0 {
		return 0
	}
	number, _ := c.entries[c.stableAt].Port.(float64)

	return int32(number)
}
