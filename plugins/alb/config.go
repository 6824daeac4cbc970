package main

import (
	"cmp"
	"slices"
	"time"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

const (
	group = "networking.k8s.io"
	// defaultPrefix is that of the AWS Load Balancer Controller's annotations.
	defaultPrefix = "alb.ingress.kubernetes.io"
	// defaultDrain is how long the load balancer may still split as before: its controller calls AWS within seconds, AWS
	// needs some more, and neither says in the Ingress when it is done.
	defaultDrain = 10 * time.Second
	// longestStickiness is AWS's limit, in seconds: a week.
	longestStickiness = 604800
)

// config is the block users write under trafficRouting.alb, with Argo's fields and drainSeconds.
type config struct {
	Ingress   string   `json:"ingress"`
	Ingresses []string `json:"ingresses"`
	// ServicePort is the port of the Services in the action.
	ServicePort int32 `json:"servicePort"`
	// RootService is the backend in the Ingress. Empty: the stable Service.
	RootService      string            `json:"rootService"`
	AnnotationPrefix string            `json:"annotationPrefix"`
	StickinessConfig *stickinessConfig `json:"stickinessConfig"`
	// DrainSeconds is how long traffic may still take the old way after a change. Nil: 10.
	DrainSeconds *int32 `json:"drainSeconds"`
}

type stickinessConfig struct {
	Enabled         bool  `json:"enabled"`
	DurationSeconds int64 `json:"durationSeconds"`
}

// selection is one Ingress the configuration names.
type selection struct {
	need objects.Need
	path string
}

// settings are a checked configuration.
type settings struct {
	ingresses  []selection
	port       int32
	root       string // empty: the stable Service
	prefix     string
	stickiness *stickinessConfig
	drain      time.Duration
}

// parseConfig reads the block of a rollout in a namespace. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, namespace string) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	s := settings{port: c.ServicePort, root: c.RootService, prefix: cmp.Or(c.AnnotationPrefix, defaultPrefix), stickiness: c.StickinessConfig, drain: defaultDrain}
	if d := c.DrainSeconds; d != nil {
		if *d < 0 {
			return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", *d)
		}
		s.drain = time.Duration(*d) * time.Second
	}
	if c.ServicePort < 1 || c.ServicePort > 65535 {
		return settings{}, plugin.InvalidConfig("servicePort", "is %d: want the port of the Services, 1 to 65535", c.ServicePort)
	}
	if st := c.StickinessConfig; st != nil && st.Enabled && (st.DurationSeconds < 1 || st.DurationSeconds > longestStickiness) {
		return settings{}, plugin.InvalidConfig("stickinessConfig.durationSeconds", "is %d: want 1 to %d", st.DurationSeconds, longestStickiness)
	}
	switch {
	case c.Ingress != "" && len(c.Ingresses) > 0:
		return settings{}, plugin.InvalidConfig("ingresses", "is set beside ingress: keep one of the two")
	case c.Ingress != "":
		s.add(namespace, c.Ingress, "ingress")
	case len(c.Ingresses) == 0:
		return settings{}, plugin.InvalidConfig("ingress", "is missing: name the Ingress of the load balancer")
	}
	for i, name := range c.Ingresses {
		at := sdkconfig.Path("ingresses", i)
		if name == "" {
			return settings{}, plugin.InvalidConfig(at, "is empty: want the name of an Ingress")
		}
		if slices.Contains(c.Ingresses[:i], name) {
			return settings{}, plugin.InvalidConfig(at, "names %q a second time: remove one", name)
		}
		s.add(namespace, name, at)
	}

	return s, nil
}

func (s *settings) add(namespace, name, path string) {
	s.ingresses = append(s.ingresses, selection{path: path,
		need: objects.Need{Group: group, Kind: "Ingress", Versions: []string{"v1"}, Namespace: namespace, Name: name}})
}
