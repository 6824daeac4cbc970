package main

import (
	"slices"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// group is the API group of ApisixRoutes.
const group = "apisix.apache.org"

// defaultDrain is how long the gateway may still route as before after a change: its controller pushes within a second, and
// what it says in the status differs by version.
const defaultDrain = 2 * time.Second

// config is the block users write under trafficRouting.apisix, with Argo's fields and drainSeconds.
type config struct {
	Route *routeConfig `json:"route"`
	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 2.
	DrainSeconds *int32 `json:"drainSeconds"`
}

type routeConfig struct {
	Name string `json:"name"`
	// Rules are names of HTTP rules. Empty: the one named like the route, else the only one.
	Rules []string `json:"rules"`
}

// settings are a checked configuration.
type settings struct {
	need  objects.Need
	rules []string
	drain time.Duration
}

func needOf(namespace, name string) objects.Need {
	return objects.Need{Group: group, Kind: "ApisixRoute", Versions: []string{"v2"}, Namespace: namespace, Name: name}
}

// parseConfig reads the block of a rollout in a namespace. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, namespace string) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{drain: defaultDrain}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}
	switch {
	case c.Route == nil:
		return settings{}, plugin.InvalidConfig("route", "is missing: name the ApisixRoute to split")
	case c.Route.Name == "":
		return settings{}, plugin.InvalidConfig("route.name", "is empty: want the name of an ApisixRoute")
	}
	for i, name := range c.Route.Rules {
		at := sdkconfig.Path("route", "rules", i)
		if name == "" {
			return settings{}, plugin.InvalidConfig(at, "is empty: want the name of an HTTP rule")
		}
		if slices.Contains(c.Route.Rules[:i], name) {
			return settings{}, plugin.InvalidConfig(at, "names %q a second time: remove one", name)
		}
	}
	s.need, s.rules = needOf(namespace, c.Route.Name), c.Route.Rules

	return s, nil
}
