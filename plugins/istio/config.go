package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// group is the API group of VirtualServices and DestinationRules.
const group = "networking.istio.io"

// defaultDrain is how long sidecars may still route as before after an object has changed: istiod pushes within a second,
// and says nothing about when they have taken it over.
const defaultDrain = 2 * time.Second

// drain is the process-level default of drainSeconds, in nanoseconds.
var drain atomic.Int64

func init() { drain.Store(int64(defaultDrain)) }

// processConfig is what the plugin's entry in the ConfigMap may say under config. It is there because the block
// trafficRouting.istio of a Rollout has no drainSeconds: the API server prunes what Argo's schema does not know.
type processConfig struct {
	// DrainSeconds of Rollouts that do not say their own. Nil: 2.
	DrainSeconds *int32 `json:"drainSeconds"`
}

// configure takes the process-level configuration. Nothing changes when it is wrong.
func configure(_ context.Context, raw []byte) error {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	c, err := sdkconfig.Decode[processConfig](raw)
	if err != nil {
		return err
	}
	next := defaultDrain
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		next = time.Duration(*d) * time.Second
	}
	drain.Store(int64(next))

	return nil
}

// config is the block users write under trafficRouting.istio, with Argo's fields and drainSeconds.
type config struct {
	VirtualService  *virtualServiceConfig  `json:"virtualService"`
	VirtualServices []virtualServiceConfig `json:"virtualServices"`
	DestinationRule *destinationRuleConfig `json:"destinationRule"`
	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 2.
	DrainSeconds *int32 `json:"drainSeconds"`
}

type virtualServiceConfig struct {
	// Name is `name` or `name.namespace`.
	Name string `json:"name"`
	// Routes are names of HTTP routes. Empty: the only one that is not managed.
	Routes    []string    `json:"routes"`
	TLSRoutes []tlsConfig `json:"tlsRoutes"`
	TCPRoutes []tcpConfig `json:"tcpRoutes"`
}

// tlsConfig is the TLS route that matches exactly this port and this set of hosts.
type tlsConfig struct {
	Port     int64    `json:"port"`
	SNIHosts []string `json:"sniHosts"`
}

// tcpConfig is the TCP route that matches exactly this port.
type tcpConfig struct {
	Port int64 `json:"port"`
}

type destinationRuleConfig struct {
	Name                  string   `json:"name"`
	CanarySubsetName      string   `json:"canarySubsetName"`
	StableSubsetName      string   `json:"stableSubsetName"`
	AdditionalSubsetNames []string `json:"additionalSubsetNames"`
}

// selection is one VirtualService the configuration names.
type selection struct {
	virtualServiceConfig

	need objects.Need
	path string
}

// settings are a checked configuration.
type settings struct {
	services []selection
	// rule is nil for a split between Services.
	rule  *destinationRuleConfig
	drain time.Duration
}

var versions = []string{"v1", "v1beta1", "v1alpha3"}

// parseConfig reads the block of a rollout in a namespace. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, namespace string) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{rule: c.DestinationRule, drain: time.Duration(drain.Load())}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}
	switch {
	case c.VirtualService != nil && len(c.VirtualServices) > 0:
		return settings{}, plugin.InvalidConfig("virtualServices", "is set beside virtualService: keep one of the two")
	case c.VirtualService != nil:
		err = s.add(*c.VirtualService, namespace, "virtualService")
	case len(c.VirtualServices) == 0:
		err = plugin.InvalidConfig("virtualService", "is missing: name the VirtualService to split")
	}
	for i, one := range c.VirtualServices {
		if err == nil {
			err = s.add(one, namespace, sdkconfig.Path("virtualServices", i))
		}
	}
	if err != nil {
		return settings{}, err
	}

	return s, s.rule.check()
}

// add takes a VirtualService in. Its name may end in a namespace, and that in the cluster's domain, as in Argo.
func (s *settings) add(one virtualServiceConfig, namespace, path string) error {
	if one.Name == "" {
		return plugin.InvalidConfig(path+".name", "is empty: want the name of a VirtualService")
	}
	name := strings.TrimSuffix(one.Name, ".cluster.local")
	if at := strings.LastIndex(name, "."); at >= 0 {
		name, namespace = name[:at], name[at+1:]
	}
	if name == "" || namespace == "" {
		return plugin.InvalidConfig(path+".name", "is %q: want `name` or `name.namespace`", one.Name)
	}
	need := objects.Need{Group: group, Kind: "VirtualService", Versions: versions, Namespace: namespace, Name: name}
	for _, other := range s.services {
		if other.need.Name == name && other.need.Namespace == namespace {
			return plugin.InvalidConfig(path+".name", "names %q a second time: give all its routes in one entry", one.Name)
		}
	}
	s.services = append(s.services, selection{one, need, path})

	return nil
}

func (r *destinationRuleConfig) check() error {
	switch {
	case r == nil:
		return nil
	case r.Name == "":
		return plugin.InvalidConfig("destinationRule.name", "is empty: want the name of a DestinationRule")
	case r.CanarySubsetName == "":
		return plugin.InvalidConfig("destinationRule.canarySubsetName", "is empty: want the name of a subset")
	case r.StableSubsetName == "":
		return plugin.InvalidConfig("destinationRule.stableSubsetName", "is empty: want the name of a subset")
	case r.StableSubsetName == r.CanarySubsetName:
		return plugin.InvalidConfig("destinationRule.canarySubsetName", "is %q, the same as stableSubsetName: use two subsets", r.CanarySubsetName)
	default:
		return nil
	}
}

// need names the DestinationRule, which is in the rollout's namespace.
func (r *destinationRuleConfig) need(namespace string) objects.Need {
	return objects.Need{Group: group, Kind: "DestinationRule", Versions: versions, Namespace: namespace, Name: r.Name}
}
