package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func TestParseConfig(t *testing.T) {
	type names = []string // kind namespace/name at path
	argo := label{defaultLabelKey, defaultLabelValue}

	for name, tc := range map[string]struct {
		config string
		routes names
		label  label
		drain  time.Duration
	}{
		"one route": {
			`{"httpRoute": "web"}`, names{"HTTPRoute shop/web at httpRoute"}, argo, 0,
		},
		"another namespace and a drain time": {
			`{"httpRoute": "web", "namespace": "edge", "drainSeconds": 5}`,
			names{"HTTPRoute edge/web at httpRoute"}, argo, 5 * time.Second,
		},
		"a route named twice is one": {
			`{"httpRoute": "web", "httpRoutes": [{"name": "web", "useHeaderRoutes": true}, {"name": "api"}]}`,
			names{"HTTPRoute shop/web at httpRoute", "HTTPRoute shop/api at httpRoutes[1].name"}, argo, 0,
		},
		"one of each kind": {
			`{"httpRoute": "a", "grpcRoute": "a", "tcpRoutes": [{"name": "a"}], "tlsRoute": "a"}`,
			names{
				"HTTPRoute shop/a at httpRoute", "GRPCRoute shop/a at grpcRoute", "TCPRoute shop/a at tcpRoutes[0].name",
				"TLSRoute shop/a at tlsRoute",
			}, argo, 0,
		},
		"a label of one's own": {
			`{"httpRoute": "web", "inProgressLabelKey": "example.com/rolling", "inProgressLabelValue": "yes"}`,
			names{"HTTPRoute shop/web at httpRoute"}, label{"example.com/rolling", "yes"}, 0,
		},
		"no label": {
			`{"httpRoute": "web", "disableInProgressLabel": true, "inProgressLabelKey": "x"}`,
			names{"HTTPRoute shop/web at httpRoute"}, label{}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseConfig([]byte(tc.config), "shop")
			require.NoError(t, err)

			var got names
			for _, r := range s.routes {
				assert.Equal(t, group, r.need.Group)
				assert.Equal(t, "v1", r.need.Versions[0])
				got = append(got, r.need.Kind+" "+r.need.Namespace+"/"+r.need.Name+" at "+r.path)
			}
			assert.Equal(t, tc.routes, got)
			assert.Equal(t, tc.label, s.label)
			assert.Equal(t, tc.drain, s.drain)
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ config, path, reason string }{
		"nothing":              {``, "", "names no route"},
		"no route":             {`{"namespace": "edge"}`, "", "names no route"},
		"an unknown field":     {`{"httpRoute": "web", "httpRoutte": "x"}`, "httpRoutte", "unknown field"},
		"one inside a list":    {`{"httpRoutes": [{"name": "a"}, {"nmae": "b"}]}`, "httpRoutes[1].nmae", "unknown field"},
		"a wrong type":         {`{"httpRoute": 1}`, "httpRoute", "expected a string"},
		"an unnamed route":     {`{"httpRoutes": [{"useHeaderRoutes": true}]}`, "httpRoutes[0].name", "is empty"},
		"a bad selector":       {`{"httpRouteSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}`, "httpRouteSelector", "Near"},
		"a misspelt selector":  {`{"httpRouteSelector": {"matchLables": {"a": "b"}}}`, "httpRouteSelector.matchLables", "unknown field"},
		"a bad session name":   {`{"httpRoute": "web", "stickyCanary": {"sessionName": "a b"}}`, "stickyCanary.sessionName", "no name"},
		"a bad session type":   {`{"httpRoute": "web", "stickyCanary": {"type": "cookie"}}`, "stickyCanary.type", "want Cookie or Header"},
		"a bad timeout":        {`{"httpRoute": "web", "stickyCanary": {"idleTimeout": "1 day"}}`, "stickyCanary.idleTimeout", "no Gateway API duration"},
		"a negative drain":     {`{"httpRoute": "web", "drainSeconds": -1}`, "drainSeconds", "0 or more"},
		"a bad label key":      {`{"httpRoute": "web", "inProgressLabelKey": "a b"}`, "inProgressLabelKey", "not a label key"},
		"a bad label value":    {`{"httpRoute": "web", "inProgressLabelValue": "-"}`, "inProgressLabelValue", "not a label value"},
		"something else":       {`["web"]`, "", "expected an object"},
		"half a configuration": {`{"httpRoute": "web"`, "", "malformed JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tc.config), "shop")
			require.Error(t, err)
			found := plugin.Violations(err)
			require.Contains(t, found, tc.path)
			assert.Contains(t, found[tc.path], tc.reason)
		})
	}
}

func TestSchemaNamesEveryField(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(schema, &s))
	for field := range reflect.TypeFor[config]().Fields() {
		assert.Contains(t, s.Properties, field.Tag.Get("json"))
	}
	assert.Len(t, s.Properties, reflect.TypeFor[config]().NumField())
}
