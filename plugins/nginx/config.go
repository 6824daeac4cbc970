package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Groups of the two products' objects.
const (
	ingressGroup = "networking.k8s.io"
	serverGroup  = "k8s.nginx.org"
)

const (
	defaultPrefix = "nginx.ingress.kubernetes.io"
	// ingressDrain is how long ingress-nginx may still route as before: it takes over changes 3.3 s apart by default
	// (--sync-rate-limit), and its workers look for them every second.
	ingressDrain = 5 * time.Second
	// serverDrain is how long F5's controller takes to reload nginx.
	serverDrain = 2 * time.Second
)

// config is the block users write under trafficRouting.nginx, with Argo's fields, or under trafficRouting.plugins.nginx,
// with these and more.
type config struct {
	AnnotationPrefix             string            `json:"annotationPrefix"`
	StableIngress                string            `json:"stableIngress"`
	StableIngresses              []string          `json:"stableIngresses"`
	AdditionalIngressAnnotations map[string]string `json:"additionalIngressAnnotations"`
	CanaryIngressAnnotations     map[string]string `json:"canaryIngressAnnotations"`
	// KeepCanaryIngress keeps the canary Ingress at weight 0, as Argo does. It is kept anyway if its annotations name a
	// header or a cookie that leads to the canary.
	KeepCanaryIngress bool `json:"keepCanaryIngress"`

	VirtualServer       *serverConfig  `json:"virtualServer"`
	VirtualServers      []serverConfig `json:"virtualServers"`
	VirtualServerRoutes []serverConfig `json:"virtualServerRoutes"`

	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 5 with Ingresses, else 2.
	DrainSeconds *int32 `json:"drainSeconds"`
}

// serverConfig names a VirtualServer or a VirtualServerRoute, and which of its paths to split.
type serverConfig struct {
	// Name of the object.
	Name string `json:"name"`
	// Namespace. Empty: the rollout's.
	Namespace string `json:"namespace"`
	// Routes are paths of its routes, or subroutes. Empty: every one that splits between the two Services.
	Routes []string `json:"routes"`
}

// named is an object with the path of its name in the block.
type named[T any] struct {
	value T
	path  string
}

// settings are a checked configuration: Ingresses or servers.
type settings struct {
	prefix    string
	ingresses []named[string]
	// annotations of the canary Ingress that the user wants.
	annotations map[string]string
	keep        bool

	servers []named[serverSelection]

	drain time.Duration
}

// parseConfig reads the block of a rollout. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{prefix: cmp.Or(c.AnnotationPrefix, defaultPrefix), drain: ingressDrain, annotations: map[string]string{}}
	if err := s.readServers(c); err != nil {
		return settings{}, err
	}
	if err := s.readIngresses(c); err != nil {
		return settings{}, err
	}
	if len(s.servers) > 0 {
		s.drain = serverDrain
	}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}

	return s, nil
}

func (s *settings) readIngresses(c config) error {
	switch {
	case c.StableIngress != "" && len(c.StableIngresses) > 0:
		return plugin.InvalidConfig("stableIngresses", "is set beside stableIngress: keep one of the two")
	case c.StableIngress != "":
		s.ingresses = []named[string]{{c.StableIngress, "stableIngress"}}
	}
	for i, name := range c.StableIngresses {
		path := sdkconfig.Path("stableIngresses", i)
		if name == "" {
			return plugin.InvalidConfig(path, "is empty: want the name of an Ingress")
		}
		if slices.ContainsFunc(s.ingresses, func(n named[string]) bool { return n.value == name }) {
			return plugin.InvalidConfig(path, "names %q a second time", name)
		}
		s.ingresses = append(s.ingresses, named[string]{name, path})
	}
	if len(s.ingresses) > 0 && len(s.servers) > 0 {
		return plugin.InvalidConfig(s.ingresses[0].path, "is set beside %s: ingress-nginx and F5's controller are two products, each with a block of its own", s.servers[0].path)
	}
	if len(s.ingresses)+len(s.servers) == 0 {
		return plugin.InvalidConfig("stableIngress", "is missing: name the Ingress that sends to the stable Service (stableIngress, stableIngresses), or a virtualServer of F5's controller")
	}
	for key, value := range c.AdditionalIngressAnnotations {
		if !strings.HasPrefix(key, s.prefix+"/") {
			key = s.prefix + "/" + key
		}
		s.annotations[key] = value
	}
	maps.Copy(s.annotations, c.CanaryIngressAnnotations)
	s.keep = c.KeepCanaryIngress || s.steersItself() != ""

	return nil
}

// steersItself is an annotation by which requests reach the canary whatever the weight is; empty if there is none.
func (s *settings) steersItself() string {
	for _, name := range []string{byHeader, byCookie} {
		if key := s.prefix + "/" + name; s.annotations[key] != "" {
			return key
		}
	}

	return ""
}

func (s *settings) readServers(c config) error {
	if c.VirtualServer != nil && len(c.VirtualServers) > 0 {
		return plugin.InvalidConfig("virtualServers", "is set beside virtualServer: keep one of the two")
	}
	add := func(kind, path string, one serverConfig) error {
		if one.Name == "" {
			return plugin.InvalidConfig(path+".name", "is empty: want the name of a %s", kind)
		}
		for _, other := range s.servers {
			if o := other.value; o.kind == kind && o.Name == one.Name && o.Namespace == one.Namespace {
				return plugin.InvalidConfig(path+".name", "names %q a second time: give all its routes in one entry", one.Name)
			}
		}
		s.servers = append(s.servers, named[serverSelection]{serverSelection{one, kind}, path})

		return nil
	}
	if c.VirtualServer != nil {
		if err := add("VirtualServer", "virtualServer", *c.VirtualServer); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		kind, path string
		all        []serverConfig
	}{{"VirtualServer", "virtualServers", c.VirtualServers}, {"VirtualServerRoute", "virtualServerRoutes", c.VirtualServerRoutes}} {
		for i, one := range list.all {
			if err := add(list.kind, sdkconfig.Path(list.path, i), one); err != nil {
				return err
			}
		}
	}

	return nil
}
