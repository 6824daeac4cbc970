package main

import (
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// group is the API group of Traefik 2.10 and later. Before, it was traefik.containo.us, which nobody maintains.
const group = "traefik.io"

// defaultDrain is Traefik's own: it collects changes for 2 s (providersThrottleDuration) before it serves them, and says
// nothing about when it does.
const defaultDrain = 3 * time.Second

// nameField is the field every other mistake is found through.
const nameField = "weightedTraefikServiceName"

// config is the block users write under trafficRouting.traefik, with Argo's field and drainSeconds.
type config struct {
	WeightedTraefikServiceName string `json:"weightedTraefikServiceName"`
	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 3.
	DrainSeconds *int32 `json:"drainSeconds"`
}

// settings are a checked configuration.
type settings struct {
	need  objects.Need
	drain time.Duration
}

// parseConfig reads the block of a rollout in a namespace. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, namespace string) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{drain: defaultDrain, need: objects.Need{
		Group: group, Kind: "TraefikService", Versions: []string{"v1alpha1"}, Namespace: namespace, Name: c.WeightedTraefikServiceName,
	}}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}
	if c.WeightedTraefikServiceName == "" {
		return settings{}, plugin.InvalidConfig(nameField, "is empty: want the name of a TraefikService with spec.weighted")
	}

	return s, nil
}
