package main

import (
	"cmp"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// group is the API group of TrafficSplits.
const group = "split.smi-spec.io"

// versions differ in the type of weights only: a quantity in v1alpha1, which takes whole numbers too. v1alpha2 is what most
// meshes know.
var versions = []string{"v1alpha2", "v1alpha3", "v1alpha4", "v1alpha1"}

// defaultDrain is how long proxies may still split as before after a change: meshes push within a second, and say nothing
// about it in the object.
const defaultDrain = 2 * time.Second

// config is the block users write under trafficRouting.smi, with Argo's fields and drainSeconds.
type config struct {
	// RootService is the Service clients use. Empty: the stable Service.
	RootService string `json:"rootService"`
	// TrafficSplitName is the name of the object. Empty: the rollout's.
	TrafficSplitName string `json:"trafficSplitName"`
	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 2.
	DrainSeconds *int32 `json:"drainSeconds"`
}

// settings are a checked configuration.
type settings struct {
	root string // empty: the stable Service
	need objects.Need
	// drain is how long a change takes to arrive.
	drain time.Duration
}

// parseConfig reads the block of a rollout. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, of plugin.Target) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{root: c.RootService, drain: defaultDrain, need: objects.Need{
		Group: group, Kind: "TrafficSplit", Versions: versions, Namespace: of.Namespace, Name: cmp.Or(c.TrafficSplitName, of.Name),
	}}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}

	return s, nil
}
