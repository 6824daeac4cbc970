package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const actionKey = "actions.web-root"

func TestOnlyTheActionOfTheRootServiceChanges(t *testing.T) {
	shop := manifest(t, "shop.json")
	text := annotation(t, shop, actionKey)
	want := strings.Replace(strings.Replace(text, `"weight":100`, `"weight":75`, 1), `"weight":0`, `"weight":25`, 1)
	got := after(t, block, traffic(25), shop)
	assert.Equal(t, string(edited(t, shop, want, "metadata", "annotations", defaultPrefix+"/"+actionKey)), string(got),
		"other actions, target groups of others, unknown fields and digits stay")
	seen := observe(t, block, false, got)
	assert.Equal(t, traffic(25).Destinations, seen.Observed[0].Traffic.Destinations)
	assert.False(t, seen.Observed[0].Residue)
	assert.Equal(t, 10*time.Second, seen.Settle)
	writes, err := send(t, block, traffic(25), false, got)
	require.NoError(t, err)
	assert.Empty(t, writes)
}

// What Argo Rollouts has written is read, and edited as it is spelled.
func TestAnActionOfArgosIsTakenOver(t *testing.T) {
	const argos = `{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"80","Weight":10},{"ServiceName":"web-stable","ServicePort":"80","Weight":90}]}}`
	shop := edited(t, manifest(t, "shop.json"), argos, "metadata", "annotations", defaultPrefix+"/"+actionKey)
	assert.Equal(t, traffic(10).Destinations, observe(t, block, false, shop).Observed[0].Traffic.Destinations)
	assert.False(t, observe(t, block, false, shop).Observed[0].Residue)
	exp := traffic(20)
	exp.Destinations[0].Weight = 70
	exp.Destinations = append(exp.Destinations, trafficrouter.Destination{Role: trafficrouter.RoleExperiment, Service: "web-exp", Weight: 10})
	got := after(t, block, exp, shop, []byte(experimentService))
	assert.JSONEq(t, `{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"80","Weight":20},
		{"ServiceName":"web-stable","ServicePort":"80","Weight":70},{"ServiceName":"web-exp","ServicePort":"8080","Weight":10}]}}`, annotation(t, got, actionKey))
	assert.Equal(t, exp.Destinations, observe(t, block, false, got).Observed[0].Traffic.Destinations)
	assert.NotContains(t, annotation(t, after(t, block, traffic(20), got), actionKey), "web-exp")
}

// In Argo's examples the Ingress has no action yet: the load balancer needs one, and keeps it.
func TestAnActionIsMadeAndStaysWhenTheRouterLeaves(t *testing.T) {
	bare := edited(t, manifest(t, "shop.json"), nil, "metadata", "annotations", defaultPrefix+"/"+actionKey)
	seen := observe(t, block, false, bare).Observed[0]
	assert.Equal(t, traffic(0).Destinations, seen.Traffic.Destinations)
	assert.True(t, seen.Residue, "it has to be made before anything is routed")
	made := after(t, block, traffic(0), bare)
	assert.JSONEq(t, `{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-canary","servicePort":"80","weight":0},
		{"serviceName":"web-stable","servicePort":"80","weight":100}]}}`, annotation(t, made, actionKey))
	assert.False(t, observe(t, block, true, made).Observed[0].Residue, "the paths depend on it")
	assert.False(t, observe(t, block, true, bare).Observed[0].Residue)
	writes, err := send(t, block, traffic(0), true, bare)
	require.NoError(t, err)
	assert.Empty(t, writes)
}

func TestStickinessIsAsConfigured(t *testing.T) {
	sticky := strings.Replace(block, "{", `{"stickinessConfig":{"enabled":true,"durationSeconds":60},`, 1)
	shop := manifest(t, "shop.json")
	assert.True(t, observe(t, sticky, false, shop).Observed[0].Residue)
	with := after(t, sticky, traffic(0), shop)
	assert.Contains(t, annotation(t, with, actionKey), `"targetGroupStickinessConfig":{"durationSeconds":60,"enabled":true}`)
	assert.False(t, observe(t, sticky, false, with).Observed[0].Residue)
	assert.False(t, observe(t, block, false, with).Observed[0].Residue, "nothing said, nothing changed")
	off := strings.Replace(block, "{", `{"stickinessConfig":{"enabled":false},`, 1)
	assert.NotContains(t, annotation(t, after(t, off, traffic(0), with), actionKey), "Stickiness")
}

func TestAHeaderRouteIsAPathBeforeItsSource(t *testing.T) {
	shop := manifest(t, "shop.json")
	want := traffic(25)
	want.ManagedRoutes = []trafficrouter.ManagedRoute{header("testers", "trace", "debug"), header("staff", "x-team", "a")}
	want.ManagedRoutes[1].Header.Match[0].Value.Kind = trafficrouter.MatchPrefix
	got := after(t, block, want, shop)
	assert.Equal(t, []string{"redirect Prefix /old", "testers Prefix /", "staff Prefix /", "web-root Prefix /"}, paths(t, got, 0), "paths of a type keep their order")
	assert.Equal(t, []string{"testers ImplementationSpecific /*", "staff ImplementationSpecific /*", "web-root ImplementationSpecific /*", "docs Exact /docs"}, paths(t, got, 1))
	assert.JSONEq(t, `{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-canary","servicePort":"80","weight":100}]}}`, annotation(t, got, "actions.testers"))
	assert.JSONEq(t, `[{"field":"query-string","queryStringConfig":{"values":[{"key":"v","value":"2"}]}},
		{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"x-team","values":["a*"]}}]`, annotation(t, got, "conditions.staff"), "what the source asks for, and the header")
	seen := observe(t, block, false, got).Observed[0]
	assert.Equal(t, want.ManagedRoutes, seen.Traffic.ManagedRoutes)
	assert.False(t, seen.Residue)
	assert.True(t, observe(t, block, false, edited(t, got, nil, "spec", "rules", 1, "http", "paths", 0)).Observed[0].Residue, "one of its paths was removed by hand")

	fewer := want
	fewer.ManagedRoutes = want.ManagedRoutes[1:]
	less := after(t, block, fewer, got)
	assert.Equal(t, []string{"redirect Prefix /old", "staff Prefix /", "web-root Prefix /"}, paths(t, less, 0))
	assert.Empty(t, annotation(t, less, "actions.testers")+annotation(t, less, "conditions.testers"))
	back := after(t, block, traffic(0), less)
	assert.Equal(t, string(edited(t, shop, annotation(t, back, actionKey), "metadata", "annotations", defaultPrefix+"/"+actionKey)), string(back))
}

func paths(t *testing.T, raw []byte, rule int) []string {
	t.Helper()
	o, err := objects.Parse(raw)
	require.NoError(t, err)
	all, _ := o.Value("spec", "rules", rule, "http", "paths")
	var found []string
	for _, one := range all.([]any) {
		p := one.(map[string]any)
		found = append(found, fmt.Sprintf("%v %v %v", p["backend"].(map[string]any)["service"].(map[string]any)["name"], p["pathType"], p["path"]))
	}

	return found
}

// Something of the user's has the name of a managed route: it counts as traffic, it stays, and weights go on moving.
func TestWhatOnlyBearsTheNameOfAHeaderRouteStays(t *testing.T) {
	shop := edited(t, manifest(t, "shop.json"), "testers", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name")
	seen := observe(t, block, false, shop)
	assert.Len(t, seen.Observed[0].Traffic.ManagedRoutes, 1)
	assert.Contains(t, seen.Message, "not recorded as one")
	assert.ErrorContains(t, validate(t, block, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("testers", "a", "b")}}, shop), "not recorded as one")
	want := traffic(10)
	want.ManagedRoutes = []trafficrouter.ManagedRoute{header("testers", "trace", "debug")}
	got := after(t, block, want, shop)
	assert.Equal(t, paths(t, shop, 0), paths(t, got, 0))
	_, err := send(t, block, want, false, got)
	assert.ErrorContains(t, err, "rename it")
}

func TestEveryIngressIsRouted(t *testing.T) {
	shop := manifest(t, "shop.json")
	internal := edited(t, shop, "internal", "metadata", "name")
	done := after(t, block, traffic(25), shop)
	writes, err := send(t, two, traffic(25), false, done, internal)
	require.NoError(t, err)
	require.Len(t, writes, 1, "one is as it should be: the other is written all the same")
	assert.Contains(t, string(writes[0].JSON), `"name":"internal"`)
	assert.Len(t, observe(t, two, false, shop, internal).Observed, 2)

	// One is deleted during an update: the other goes on, an abort must reach it.
	assert.True(t, plugin.IsReferenceNotFound(validate(t, two, trafficrouter.Envelope{}, shop)))
	assert.Len(t, observe(t, two, false, done).Observed, 1)
	writes, err = send(t, two, traffic(0), false, done)
	require.NoError(t, err)
	assert.Len(t, writes, 1)

	// One is taken out of the block: only that is given back.
	held = "internal"
	defer func() { held = "" }()
	writes, err = send(t, two, traffic(0), true, done, after(t, strings.Replace(block, "web\"", "internal\"", 1), traffic(25), internal))
	require.NoError(t, err)
	require.Len(t, writes, 1)
	assert.Contains(t, string(writes[0].JSON), `"name":"internal"`)
}

func TestServicesThatTakeTurns(t *testing.T) {
	shop := manifest(t, "shop.json")
	turned := plugin.Target{Namespace: "shop", Name: "web", StableService: "web-canary", CanaryService: "web-stable"}
	seen, err := router{}.Observe(t.Context(), &trafficrouter.ObserveRequest{Target: turned, Config: []byte(block), TotalWeight: 100, Inputs: inputs(t, shop)})
	require.NoError(t, err)
	assert.Equal(t, int32(100), seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
	err = validate(t, `{"ingress":"web","servicePort":80}`, trafficrouter.Envelope{PingPong: true}, shop)
	assert.Contains(t, plugin.Violations(err), "rootService")
}

func TestMistakesAreNamedBeforeAnythingMoves(t *testing.T) {
	shop := manifest(t, "shop.json")
	at := func(value any, path ...any) []byte { return edited(t, shop, value, path...) }
	action := func(text string) []byte { return at(text, "metadata", "annotations", defaultPrefix+"/"+actionKey) }
	assert.NoError(t, validate(t, block, trafficrouter.Envelope{}, shop))
	for message, of := range map[string]struct {
		config string
		raw    []byte
	}{
		"keep one of the two":               {`{"ingress":"web","ingresses":["web"],"servicePort":80}`, shop},
		"ingress: is missing":               {`{"servicePort":80}`, shop},
		"a second time":                     {`{"ingresses":["web","web"],"servicePort":80}`, shop},
		"want the name of an Ingress":       {`{"ingresses":[""],"servicePort":80}`, shop},
		"servicePort: is 0":                 {`{"ingress":"web"}`, shop},
		"want 0 or more":                    {`{"ingress":"web","servicePort":80,"drainSeconds":-1}`, shop},
		"durationSeconds: is 0":             {`{"ingress":"web","servicePort":80,"stickinessConfig":{"enabled":true}}`, shop},
		`no path to Service "web-stable"`:   {`{"ingress":"web","servicePort":80}`, shop},
		"only where the port's name is use": {block, at(map[string]any{"number": 80}, "spec", "rules", 1, "http", "paths", 0, "backend", "service", "port")},
		"is no JSON object":                 {block, action("forward")},
		"has type redirect":                 {block, action(`{"Type":"redirect"}`)},
		"has no forwardConfig.targetGroups": {block, action(`{"type":"forward","targetGroupARN":"arn"}`)},
		"sum to 30":                         {block, action(`{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":30},{"targetGroupName":"x","weight":1}]}}`)},
	} {
		err := validate(t, of.config, trafficrouter.Envelope{}, of.raw)
		assert.ErrorContains(t, err, message)
		assert.NotEmpty(t, plugin.Violations(err), message)
	}
	many := header("testers", "a", "1")
	many.Header.Match = append(many.Header.Match, header("x", "b", "2").Header.Match[0], header("x", "c", "3").Header.Match[0])
	assert.ErrorContains(t, validate(t, block, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{many}}, shop), "needs 6 conditions")
	for _, h := range []trafficrouter.HeaderMatch{{Name: "", Value: header("", "", "x").Header.Match[0].Value}, {Name: "a"},
		{Name: "a", Value: trafficrouter.StringMatch{Kind: trafficrouter.MatchRegex, Value: "x"}}} {
		assert.Error(t, router{}.CheckHeaderRoute(trafficrouter.HeaderRoute{Match: []trafficrouter.HeaderMatch{h}}))
	}
}
