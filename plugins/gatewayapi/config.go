package main

import (
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// group is the API group of every route.
const group = "gateway.networking.k8s.io"

// Argo's plugin marks a route with this label while the canary gets traffic, so that a GitOps tool can be told to leave
// its weights alone. Users have it in their ignore rules.
const (
	defaultLabelKey   = "rollouts.argoproj.io/gatewayapi-canary"
	defaultLabelValue = "in-progress"
)

// config is the block users write under trafficRouting.plugins, with the fields of Argo's plugin and drainSeconds.
type config struct {
	HTTPRoute string `json:"httpRoute"`
	GRPCRoute string `json:"grpcRoute"`
	TCPRoute  string `json:"tcpRoute"`
	TLSRoute  string `json:"tlsRoute"`

	HTTPRoutes []routeConfig `json:"httpRoutes"`
	GRPCRoutes []routeConfig `json:"grpcRoutes"`
	TCPRoutes  []routeConfig `json:"tcpRoutes"`
	TLSRoutes  []routeConfig `json:"tlsRoutes"`

	HTTPRouteSelector *metav1.LabelSelector `json:"httpRouteSelector"`
	GRPCRouteSelector *metav1.LabelSelector `json:"grpcRouteSelector"`
	TCPRouteSelector  *metav1.LabelSelector `json:"tcpRouteSelector"`
	TLSRouteSelector  *metav1.LabelSelector `json:"tlsRouteSelector"`

	// Namespace of the routes. Empty: the rollout's.
	Namespace string `json:"namespace"`
	// DrainSeconds is how long traffic may still take the old way after a change of weights. 0: the data plane's word is
	// enough.
	DrainSeconds int32 `json:"drainSeconds"`
	// StickyCanary keeps clients on the version they got first. Nil: each request goes by the weights.
	StickyCanary *stickyConfig `json:"stickyCanary"`

	DisableInProgressLabel bool   `json:"disableInProgressLabel"`
	InProgressLabelKey     string `json:"inProgressLabelKey"`
	InProgressLabelValue   string `json:"inProgressLabelValue"`
}

// routeConfig names one route of a list.
type routeConfig struct {
	Name string `json:"name"`
	// UseHeaderRoutes says whether managed routes go to this route too.
	UseHeaderRoutes bool `json:"useHeaderRoutes"`
}

// selection is one route the configuration names, or those a selector matches.
type selection struct {
	need objects.Need
	// path is where the configuration names it, such as `httpRoutes[0].name`.
	path string
	// headers: managed routes go here too.
	headers bool
}

// label marks a route whose canary gets traffic. The zero label marks nothing.
type label struct{ key, value string }

// settings are a checked configuration.
type settings struct {
	routes []selection
	label  label
	drain  time.Duration
	sticky *stickyConfig
}

var (
	labelKey   = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{0,252}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
)

// parseConfig reads the block of a rollout in a namespace. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte, namespace string) (settings, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return settings{}, err
	}
	if c.Namespace != "" {
		namespace = c.Namespace
	}
	s := settings{drain: time.Duration(c.DrainSeconds) * time.Second, sticky: c.StickyCanary}
	if c.DrainSeconds < 0 {
		return settings{}, plugin.InvalidConfig("drainSeconds", "is %d: want 0 or more", c.DrainSeconds)
	}
	if err := c.StickyCanary.check(); err != nil {
		return settings{}, err
	}
	if s.label, err = c.label(); err != nil {
		return settings{}, err
	}
	for _, k := range c.kinds() {
		found, err := k.selections(namespace)
		if err != nil {
			return settings{}, err
		}
		s.routes = append(s.routes, found...)
	}
	if len(s.routes) == 0 {
		return settings{}, plugin.InvalidConfig("", "names no route: set httpRoute to the name of the HTTPRoute to split")
	}

	return s, nil
}

func (c config) label() (label, error) {
	if c.DisableInProgressLabel {
		return label{}, nil
	}
	l := label{defaultLabelKey, defaultLabelValue}
	if c.InProgressLabelKey != "" {
		l.key = c.InProgressLabelKey
	}
	if c.InProgressLabelValue != "" {
		l.value = c.InProgressLabelValue
	}
	if !labelKey.MatchString(l.key) {
		return label{}, plugin.InvalidConfig("inProgressLabelKey", "%q is not a label key", l.key)
	}
	if !labelValue.MatchString(l.value) {
		return label{}, plugin.InvalidConfig("inProgressLabelValue", "%q is not a label value", l.value)
	}

	return l, nil
}

// kindConfig is what the configuration says about one kind of route.
type kindConfig struct {
	kind     string
	versions []string
	single   string
	list     []routeConfig
	selector *metav1.LabelSelector
}

func (c config) kinds() []kindConfig {
	return []kindConfig{
		{"HTTPRoute", []string{"v1", "v1beta1"}, c.HTTPRoute, c.HTTPRoutes, c.HTTPRouteSelector},
		{"GRPCRoute", []string{"v1", "v1alpha2"}, c.GRPCRoute, c.GRPCRoutes, c.GRPCRouteSelector},
		{"TCPRoute", []string{"v1", "v1alpha2"}, c.TCPRoute, c.TCPRoutes, c.TCPRouteSelector},
		{"TLSRoute", []string{"v1", "v1alpha3", "v1alpha2"}, c.TLSRoute, c.TLSRoutes, c.TLSRouteSelector},
	}
}

// selections returns the routes of one kind, each once even if it is named twice. A route named alone takes managed routes,
// one of a list if it says so, those of a selector never: as in Argo's plugin.
func (k kindConfig) selections(namespace string) ([]selection, error) {
	var (
		field = k.field()
		need  = objects.Need{Group: group, Kind: k.kind, Versions: k.versions, Namespace: namespace}
		found []selection
		add   = func(name, path string, headers bool) {
			named := need
			named.Name = name
			if i := slices.IndexFunc(found, func(s selection) bool { return s.need.Name == name }); i >= 0 {
				found[i].headers = found[i].headers || headers

				return
			}
			found = append(found, selection{named, path, headers && takesRules(k.kind)})
		}
	)
	if k.single != "" {
		add(k.single, field, true)
	}
	for i, one := range k.list {
		path := sdkconfig.Path(field+"s", i, "name")
		if one.Name == "" {
			return nil, plugin.InvalidConfig(path, "is empty: want the name of the %s", k.kind)
		}
		add(one.Name, path, one.UseHeaderRoutes)
	}
	if k.selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(k.selector)
		if err != nil {
			return nil, plugin.InvalidConfig(field+"Selector", "%v", err)
		}
		need.Selector = selector.String()
		found = append(found, selection{need: need, path: field + "Selector"})
	}

	return found, nil
}

// field is the kind as the configuration spells it: HTTPRoute is httpRoute.
func (k kindConfig) field() string {
	return strings.ToLower(strings.TrimSuffix(k.kind, "Route")) + "Route"
}
