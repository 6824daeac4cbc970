package rollout

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

func routed(routing *v1alpha1.RolloutTrafficRouting, remembered ...v1alpha1.RouterStatus) *v1alpha1.Rollout {
	ro := &v1alpha1.Rollout{}
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{StableService: "stable", CanaryService: "canary", TrafficRouting: routing}
	ro.Status.Canary.Routers = remembered
	return ro
}

func TestEveryBlockIsAPlugin(t *testing.T) {
	blocks := Blocks(routed(&v1alpha1.RolloutTrafficRouting{
		Istio:         &v1alpha1.IstioTrafficRouting{VirtualService: &v1alpha1.IstioVirtualService{Name: "vs"}},
		Nginx:         &v1alpha1.NginxTrafficRouting{StableIngress: "web"},
		ALB:           &v1alpha1.ALBTrafficRouting{Ingress: "web", ServicePort: 80},
		Apisix:        &v1alpha1.ApisixTrafficRouting{Route: &v1alpha1.ApisixRoute{Name: "r"}},
		SMI:           &v1alpha1.SMITrafficRouting{},
		Traefik:       &v1alpha1.TraefikTrafficRouting{WeightedTraefikServiceName: "w"},
		Ambassador:    &v1alpha1.AmbassadorTrafficRouting{Mappings: []string{"m"}},
		AppMesh:       &v1alpha1.AppMeshTrafficRouting{},
		ManagedRoutes: []v1alpha1.ManagedRoute{{Name: "b"}, {Name: "a"}},
		Plugins:       map[string]json.RawMessage{"x/y": json.RawMessage(`{"n": 1.50}`), "a/b": nil},
	}))
	var got [][3]string
	for _, b := range blocks {
		got = append(got, [3]string{b.Plugin, b.Path, string(b.Config)})
		assert.Equal(t, []string{"b", "a"}, b.ManagedNames, "in order of precedence")
		assert.False(t, b.Releasing)
	}
	const at = "spec.strategy.canary.trafficRouting."
	assert.Equal(t, [][3]string{
		{"istio", at + "istio", `{"virtualService":{"name":"vs"}}`},
		{"nginx", at + "nginx", `{"stableIngress":"web"}`},
		{"alb", at + "alb", `{"ingress":"web","servicePort":80}`},
		{"apisix", at + "apisix", `{"route":{"name":"r"}}`},
		{"smi", at + "smi", `{}`},
		{"traefik", at + "traefik", `{"weightedTraefikServiceName":"w"}`},
		{"ambassador", at + "ambassador", `{"mappings":["m"]}`},
		{"appMesh", at + "appMesh", `{}`},
		{"a/b", at + "plugins[a/b]", `{}`},
		{"x/y", at + "plugins[x/y]", `{"n": 1.50}`},
	}, got, "a plugin's own block is byte for byte the user's")
}

func TestWhoIsReleasing(t *testing.T) {
	plugins := func(config string) *v1alpha1.RolloutTrafficRouting {
		return &v1alpha1.RolloutTrafficRouting{
			Plugins:       map[string]json.RawMessage{"x/y": json.RawMessage(config)},
			ManagedRoutes: []v1alpha1.ManagedRoute{{Name: "new"}},
		}
	}
	holds := []v1alpha1.RouterHold{{Object: "o", Key: "k"}}
	entry := func(config string, phase v1alpha1.RouterPhase) v1alpha1.RouterStatus {
		return v1alpha1.RouterStatus{Plugin: "x/y", Config: json.RawMessage(config), Phase: phase, ManagedRoutes: []string{"old"}, Holds: holds}
	}
	active := Block{Plugin: "x/y", Path: "spec.strategy.canary.trafficRouting.plugins[x/y]", Config: json.RawMessage(`{"a":1,"b":2}`), ManagedNames: []string{"new", "old"}, Holds: holds}
	fresh := active
	fresh.ManagedNames, fresh.Holds = []string{"new"}, nil
	releasing := Block{Plugin: "x/y", Path: "status.canary.routers[x/y]", Config: json.RawMessage(`{"a":0}`), ManagedNames: []string{"old"}, Holds: holds, Releasing: true}
	beside := releasing
	beside.Kept = []Claim{{Object: "o", Key: "k"}}
	for name, tc := range map[string]struct {
		ro   *v1alpha1.Rollout
		want []Block
	}{
		"the same block":                {routed(plugins(`{"a":1,"b":2}`), entry(`{"b":2,"a":1}`, v1alpha1.RouterActive)), []Block{active}},
		"an edited block is one router": {routed(plugins(`{"a":1,"b":2}`), entry(`{"a":0}`, v1alpha1.RouterActive)), []Block{active}},
		"and is released where status says so": {
			routed(plugins(`{"a":1,"b":2}`), entry(`{"a":0}`, v1alpha1.RouterReleasing)), []Block{fresh, releasing}},
		"beside its successor": {
			routed(plugins(`{"a":1,"b":2}`), entry(`{"a":1,"b":2}`, v1alpha1.RouterActive), entry(`{"a":0}`, v1alpha1.RouterReleasing)), []Block{active, beside}},
		"unless the edit was undone": {routed(plugins(`{"a":1,"b":2}`), entry(`{"b":2,"a":1}`, v1alpha1.RouterReleasing)), []Block{active}},
		"a removed block":            {routed(&v1alpha1.RolloutTrafficRouting{}, entry(`{"a":0}`, v1alpha1.RouterActive)), []Block{releasing}},
		"no traffic routing":         {routed(nil, entry(`{"a":0}`, v1alpha1.RouterActive)), []Block{releasing}},
		"nothing at all":             {&v1alpha1.Rollout{}, nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, Blocks(tc.ro)) })
	}
}

func TestServicesByRole(t *testing.T) {
	services := func(b Block, ro *v1alpha1.Rollout) [2]string {
		target := b.Target(ro)
		return [2]string{target.StableService, target.CanaryService}
	}
	ro := routed(nil)
	assert.Equal(t, [2]string{"stable", "canary"}, services(Block{}, ro))
	ro.Spec.Strategy.Canary.PingPong = &v1alpha1.PingPongSpec{PingService: "ping", PongService: "pong"}
	assert.Equal(t, [2]string{"ping", "pong"}, services(Block{}, ro))
	ro.Status.Canary.StablePingPong = v1alpha1.PingPongPong
	assert.Equal(t, [2]string{"pong", "ping"}, services(Block{}, ro))
	assert.Equal(t, [2]string{"", ""}, services(Block{}, &v1alpha1.Rollout{}))
	assert.Equal(t, [2]string{"was", ""}, services(Block{Intended: &v1alpha1.TrafficWeights{Stable: v1alpha1.WeightDestination{ServiceName: "was"}}}, ro))
}

func TestTheEnvelopeHoldsEveryStep(t *testing.T) {
	exact := func(s string) *v1alpha1.StringMatch { return &v1alpha1.StringMatch{Exact: s} }
	ro := routed(&v1alpha1.RolloutTrafficRouting{MaxTrafficWeight: ptr.To[int32](1000)})
	ro.Spec.Strategy.Canary.Steps = []v1alpha1.CanaryStep{
		{SetWeight: ptr.To[int32](10)},
		{SetHeaderRoute: &v1alpha1.SetHeaderRoute{Name: "h", Match: []v1alpha1.HeaderRoutingMatch{{HeaderName: "x", HeaderValue: exact("1")}, {HeaderName: "y"}}}},
		{SetHeaderRoute: &v1alpha1.SetHeaderRoute{Name: "h"}},
		{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "m", Match: []v1alpha1.RouteMatch{{Method: exact("GET"), Headers: map[string]v1alpha1.StringMatch{"b": *exact("2"), "a": *exact("1")}}}}},
		{SetMirrorRoute: &v1alpha1.SetMirrorRoute{Name: "m"}},
		{Experiment: &v1alpha1.RolloutExperimentStep{Templates: []v1alpha1.RolloutExperimentTemplate{{Weight: ptr.To[int32](5)}, {}, {Weight: ptr.To[int32](5)}}}},
		{Experiment: &v1alpha1.RolloutExperimentStep{Templates: []v1alpha1.RolloutExperimentTemplate{{Weight: ptr.To[int32](5)}}}},
	}
	assert.Equal(t, Envelope{
		TotalWeight: 1000,
		ManagedRoutes: []ManagedRoute{
			{Name: "h", Header: []HeaderMatch{{Name: "x", Value: StringMatch{Exact: "1"}}, {Name: "y"}}},
			{Name: "m", Mirror: &MirrorRoute{Percentage: 100, Match: []RouteMatch{{Method: &StringMatch{Exact: "GET"},
				Headers: []HeaderMatch{{Name: "a", Value: StringMatch{Exact: "1"}}, {Name: "b", Value: StringMatch{Exact: "2"}}}}}}},
		},
		MaxDestinations: 2,
	}, EnvelopeOf(ro))
	assert.Equal(t, Envelope{TotalWeight: 100}, EnvelopeOf(&v1alpha1.Rollout{}))
}

func TestObjectNames(t *testing.T) {
	for want, o := range map[string]struct{ group, kind, namespace, name string }{
		"HTTPRoute.gateway.networking.k8s.io/shop/web": {"gateway.networking.k8s.io", "HTTPRoute", "shop", "web"},
		"Service/shop/web": {"", "Service", "shop", "web"},
		"GatewayClass.gateway.networking.k8s.io//traefik.v3": {"gateway.networking.k8s.io", "GatewayClass", "", "traefik.v3"},
	} {
		gk := schema.GroupKind{Group: o.group, Kind: o.kind}
		assert.Equal(t, want, ObjectName(gk, o.namespace, o.name))
		parsed, namespace, name, ok := ParseObjectName(want)
		assert.True(t, ok)
		assert.Equal(t, gk, parsed)
		assert.Equal(t, [2]string{o.namespace, o.name}, [2]string{namespace, name})
	}
	for _, wrong := range []string{"", "Service", "Service/web", "/shop/web", "Service/shop/", "a/b/c/d"} {
		_, _, _, ok := ParseObjectName(wrong)
		assert.False(t, ok, wrong)
	}
}
