package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const canaryKey = "Ingress/web-shop-canary"

func annotation(s *stage, name string) any {
	return s.value(canaryKey, "metadata", "annotations", "nginx.ingress.kubernetes.io/"+name)
}

func TestACanaryIngressComesWithTheFirstWeightAndGoesWithTheLast(t *testing.T) {
	s := newStage(t, `{"stableIngress":"shop","additionalIngressAnnotations":{"backend-protocol":"HTTP"},"canaryIngressAnnotations":{"example.com/team":"checkout"}}`, manifest(t, "ingress.json"))
	require.NoError(t, s.validate(trafficrouter.Envelope{}))
	assert.Empty(t, s.send(traffic(0)), "nothing to do at rest")
	assert.False(t, s.see().Observed[0].Residue)

	assert.Equal(t, []string{"create " + canaryKey}, s.send(traffic(30)))
	assert.Equal(t, map[string]any{
		"kubernetes.io/ingress.class":                  "nginx",
		"nginx.ingress.kubernetes.io/canary":           "true",
		"nginx.ingress.kubernetes.io/canary-weight":    "30",
		"nginx.ingress.kubernetes.io/backend-protocol": "HTTP",
		"example.com/team":                             "checkout",
		recordKey:                                      s.value(canaryKey, "metadata", "annotations", recordKey),
	}, s.value(canaryKey, "metadata", "annotations"))
	raw, err := parsed(`{"ingressClassName":"nginx","tls":[{"hosts":["shop.example.com"],"secretName":"shop-tls"}],"rules":[
		{"host":"shop.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"web-canary","port":{"number":80}}}}]}}]}`)
	require.NoError(t, err)
	assert.Equal(t, raw, s.value(canaryKey, "spec"), "what leads to the stable Service, and nothing else")

	assert.Equal(t, []string{"update " + canaryKey}, s.send(traffic(60)))
	assert.Equal(t, int32(60), s.see().Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
	assert.Empty(t, s.send(traffic(60)))
	assert.Equal(t, []string{"delete " + canaryKey}, s.send(traffic(0)))
}

func TestTheCanaryIngressFollowsTheStableOne(t *testing.T) {
	s := newStage(t, byIngress, manifest(t, "ingress.json"))
	s.send(traffic(30))
	s.edit(canaryKey, "theirs", "metadata", "annotations", "example.com/foreign")
	s.edit("Ingress/shop", "public", "spec", "ingressClassName")
	s.edit("Ingress/shop", nil, "spec", "tls")
	s.edit("Ingress/shop", nil, "metadata", "annotations", "kubernetes.io/ingress.class")
	assert.True(t, s.see().Observed[0].Residue, "what is not up to date is repaired")
	assert.Equal(t, []string{"update " + canaryKey}, s.send(traffic(30)))
	assert.Equal(t, "public", s.value(canaryKey, "spec", "ingressClassName"))
	assert.Nil(t, s.value(canaryKey, "spec", "tls"))
	assert.Nil(t, s.value(canaryKey, "metadata", "annotations", "kubernetes.io/ingress.class"))
	assert.Equal(t, "theirs", s.value(canaryKey, "metadata", "annotations", "example.com/foreign"))
	assert.False(t, s.see().Observed[0].Residue)
}

func TestAKeptCanaryIngress(t *testing.T) {
	for name, config := range map[string]string{
		"by a flag":                  `{"stableIngress":"shop","keepCanaryIngress":true}`,
		"because a header leads in":  `{"stableIngress":"shop","additionalIngressAnnotations":{"canary-by-header":"X-Canary"}}`,
		"because a cookie leads in":  `{"stableIngress":"shop","canaryIngressAnnotations":{"nginx.ingress.kubernetes.io/canary-by-cookie":"canary"}}`,
		"with a prefix of one's own": `{"stableIngress":"shop","annotationPrefix":"example.com","additionalIngressAnnotations":{"example.com/canary-by-header":"X-Canary"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, config, manifest(t, "ingress.json"))
			assert.True(t, s.see().Observed[0].Residue, "it is missing")
			assert.Equal(t, []string{"create " + canaryKey}, s.send(traffic(0)))
			assert.False(t, s.see().Observed[0].Residue)
			s.send(traffic(40))
			assert.Equal(t, []string{"update " + canaryKey}, s.send(traffic(0)))
			assert.Equal(t, int32(0), s.see().Observed[0].Traffic.Weight(trafficrouter.RoleCanary))

			seen, err := s.observe(100, true)
			require.NoError(t, err)
			assert.True(t, seen.Observed[0].Residue, "a release does not keep it")
			require.NoError(t, s.route(traffic(0), true))
			assert.Equal(t, []string{"delete " + canaryKey}, s.wrote)
			seen, err = s.observe(100, true)
			require.NoError(t, err)
			assert.False(t, seen.Observed[0].Residue)
		})
	}
}

// A canary Ingress that Argo Rollouts has left belongs to the same Rollout.
func TestAnIngressOfArgoIsTakenOver(t *testing.T) {
	left := strings.NewReplacer(`"name":"shop",`, `"name":"web-shop-canary","ownerReferences":[{"uid":"rollout-uid","controller":true}],`, "web-stable", "web-canary",
		`"nginx.ingress.kubernetes.io/proxy-body-size":"8m"`, `"nginx.ingress.kubernetes.io/canary":"true","nginx.ingress.kubernetes.io/canary-weight":"25"`).
		Replace(string(manifest(t, "ingress.json")))
	s := newStage(t, byIngress, manifest(t, "ingress.json"), []byte(left))
	require.NoError(t, s.validate(trafficrouter.Envelope{}))
	assert.Equal(t, int32(25), s.see().Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
	assert.Equal(t, []string{"update " + canaryKey}, s.send(traffic(25)), "paths of others, which it does not need")
	assert.Equal(t, []string{"delete " + canaryKey}, s.send(traffic(0)))
}

func TestAnIngressOfSomebodyElseIsNotTouched(t *testing.T) {
	s := newStage(t, byIngress, manifest(t, "ingress.json"), []byte(strings.Replace(string(manifest(t, "ingress.json")), `"name":"shop",`, `"name":"web-shop-canary",`, 1)))
	require.ErrorContains(t, s.validate(trafficrouter.Envelope{}), `stableIngress: Ingress "shop/web-shop-canary" has the name of the canary Ingress and is not controlled by Rollout "shop/web": delete it`)
	require.Error(t, s.route(traffic(30), false))
	require.NoError(t, s.route(traffic(0), true))
	assert.Empty(t, s.wrote)
}

// ingress-nginx takes every total below 100 for 100, and counts weights of it.
func TestTotals(t *testing.T) {
	for _, tc := range []struct {
		total, canary         int32
		weight, of            string
		readWeight, readTotal int32
	}{
		{100, 30, "30", "", 30, 100},
		{1000, 1, "1", "1000", 1, 1000},
		{10, 3, "30", "", 30, 100},
		{30, 7, "28", "120", 28, 120},
		{1, 1, "100", "", 100, 100},
	} {
		s := newStage(t, byIngress, manifest(t, "ingress.json"))
		want := traffic(0)
		want.TotalWeight, want.Destinations[0].Weight, want.Destinations[1].Weight = tc.total, tc.total-tc.canary, tc.canary
		s.send(want)
		assert.Equal(t, tc.weight, annotation(s, "canary-weight"), "%v", tc)
		if tc.of == "" {
			assert.Nil(t, annotation(s, "canary-weight-total"), "%v", tc)
		} else {
			assert.Equal(t, tc.of, annotation(s, "canary-weight-total"), "%v", tc)
		}
		seen, err := s.observe(tc.total, false)
		require.NoError(t, err)
		assert.Equal(t, tc.canary, seen.Observed[0].Traffic.Weight(trafficrouter.RoleCanary))
		assert.False(t, seen.Observed[0].Residue)
	}
}

func TestHeaderRoutesOfIngresses(t *testing.T) {
	for _, tc := range []struct {
		kind                 trafficrouter.MatchKind
		value                string
		plain, pattern, fail string
	}{
		{trafficrouter.MatchExact, "v2", "v2", "", ""},
		{trafficrouter.MatchExact, "a(b)", "", `^a\(b\)$`, ""},
		{trafficrouter.MatchPrefix, "can.", "", `^can\.`, ""},
		{trafficrouter.MatchRegex, "v[0-9]+", "", "^(?:v[0-9]+)$", ""},
		{trafficrouter.MatchAny, "", "", ".*", ""},
		{trafficrouter.MatchExact, "", "", "^$", ""},
		{trafficrouter.MatchExact, "a%b", "", "", "letters, digits and the characters of regular expressions only"},
	} {
		s := newStage(t, byIngress, manifest(t, "ingress.json"))
		testers := header("testers", "X-Test", tc.kind, tc.value)
		err := s.validate(trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{testers, testers}})
		if tc.fail != "" {
			require.ErrorContains(t, err, tc.fail)

			continue
		}
		require.NoError(t, err)
		s.send(traffic(0, testers))
		orNil := func(s string) any {
			if s == "" {
				return nil
			}

			return s
		}
		assert.Equal(t, "X-Test", annotation(s, "canary-by-header"))
		assert.Equal(t, orNil(tc.plain), annotation(s, "canary-by-header-value"))
		assert.Equal(t, orNil(tc.pattern), annotation(s, "canary-by-header-pattern"))
		assert.Equal(t, []trafficrouter.ManagedRoute{testers}, s.see().Observed[0].Traffic.ManagedRoutes)
		assert.Equal(t, []string{"update " + canaryKey}, s.send(traffic(10)))
		assert.Nil(t, annotation(s, "canary-by-header"))
	}
}

func TestWhatIngressesCannotDo(t *testing.T) {
	two := header("a", "x", trafficrouter.MatchExact, "1")
	two.Header.Match = append(two.Header.Match, two.Header.Match[0])
	static := `{"stableIngress":"shop","canaryIngressAnnotations":{"nginx.ingress.kubernetes.io/canary-by-header":"x"}}`
	for name, tc := range map[string]struct {
		config   string
		envelope trafficrouter.Envelope
		want     string
	}{
		"two header routes":  {byIngress, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("a", "x", 1, "1"), header("b", "x", 1, "1")}}, "has room for one"},
		"two headers":        {byIngress, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{two}}, "matches 2 headers, and ingress-nginx compares one"},
		"a header twice":     {static, trafficrouter.Envelope{ManagedRoutes: []trafficrouter.ManagedRoute{header("a", "x", 1, "1")}}, "ingress-nginx has room for one of the two"},
		"ping-pong":          {byIngress, trafficrouter.Envelope{PingPong: true}, "ping-pong needs a router that names both Services"},
		"no Ingress":         {`{}`, trafficrouter.Envelope{}, "stableIngress: is missing"},
		"both":               {`{"stableIngress":"a","stableIngresses":["b"]}`, trafficrouter.Envelope{}, "stableIngresses: is set beside stableIngress"},
		"twice":              {`{"stableIngresses":["a","a"]}`, trafficrouter.Envelope{}, `stableIngresses[1]: names "a" a second time`},
		"an empty name":      {`{"stableIngresses":["a",""]}`, trafficrouter.Envelope{}, "stableIngresses[1]: is empty"},
		"two products":       {`{"stableIngress":"a","virtualServer":{"name":"b"}}`, trafficrouter.Envelope{}, "stableIngress: is set beside virtualServer"},
		"a negative drain":   {`{"stableIngress":"shop","drainSeconds":-1}`, trafficrouter.Envelope{}, "drainSeconds: is -1"},
		"a missing Ingress":  {`{"stableIngress":"nowhere"}`, trafficrouter.Envelope{}, `stableIngress: Ingress "shop/nowhere" not found: create it or correct the name`},
		"of another Service": {`{"stableIngress":"second"}`, trafficrouter.Envelope{}, `stableIngress: Ingress "shop/second" has no path that leads to the stable Service "web-stable": name that in it`},
	} {
		t.Run(name, func(t *testing.T) {
			other := strings.ReplaceAll(string(manifest(t, "second.json")), "web-stable", "api-stable")
			err := newStage(t, tc.config, manifest(t, "ingress.json"), []byte(other)).validate(tc.envelope)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// An abort takes the traffic back whatever has become of the objects.
func TestAnAbortReachesWhatIsLeft(t *testing.T) {
	s := newStage(t, `{"stableIngresses":["shop","second"]}`, manifest(t, "ingress.json"), manifest(t, "second.json"))
	s.send(traffic(30))
	delete(s.objects, "Ingress/shop")
	seen := s.see()
	require.Len(t, seen.Observed, 2)
	assert.Contains(t, seen.Message, `Ingress "shop/shop" not found`)
	assert.Equal(t, []string{"update Ingress/web-second-canary"}, s.send(traffic(50)), "the other goes on")
	assert.Equal(t, []string{"delete " + canaryKey, "delete Ingress/web-second-canary"}, s.send(traffic(0)))

	s = newStage(t, byIngress, manifest(t, "ingress.json"))
	s.send(traffic(30))
	s.edit("Ingress/shop", "renamed", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name")
	assert.Equal(t, []string{"delete " + canaryKey}, s.send(traffic(0)))
}

// An Ingress that the block no longer names is left, by what the router holds.
func TestAnIngressThatIsNoLongerNamed(t *testing.T) {
	s := newStage(t, `{"stableIngresses":["shop","second"]}`, manifest(t, "ingress.json"), manifest(t, "second.json"))
	s.send(traffic(30))
	s.config, s.held = `{"stableIngress":"second"}`, map[string]bool{canaryKey: true, "Ingress/shop": true}
	seen := s.see()
	require.Len(t, seen.Observed, 2)
	assert.True(t, seen.Observed[1].Residue)
	assert.Equal(t, int32(30), seen.Observed[1].Traffic.Weight(trafficrouter.RoleCanary))
	assert.Equal(t, []string{"delete " + canaryKey}, s.send(traffic(30)))
}

func TestNamesOfCanaryIngresses(t *testing.T) {
	assert.Equal(t, "web-shop-canary", canaryName("web", "shop"))
	long := canaryName(strings.Repeat("r", 200), strings.Repeat("i", 100))
	assert.Equal(t, strings.Repeat("r", 200)+"-"+strings.Repeat("i", 45)+"-canary", long)
	assert.Len(t, long, maxName)
	assert.Equal(t, strings.Repeat("r", 245)+"-canary", canaryName(strings.Repeat("r", 245)+".x", "shop"), "a name may not have .- in it")
	twins := newStage(t, `{"stableIngresses":["`+strings.Repeat("i", 250)+`a","`+strings.Repeat("i", 250)+`b"]}`)
	assert.NotEmpty(t, plugin.Violations(twins.validate(trafficrouter.Envelope{})))
}
