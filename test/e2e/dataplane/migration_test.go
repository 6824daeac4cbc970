package dataplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/plugins/nginx/migration"
	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// moving are Ingresses, with what people ask of them.
var moving = []struct {
	name, annotations, paths string
	asked                    []string
}{
	{"types", "", `[
		{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}},
		{path: /login, pathType: Exact, backend: {service: {name: two, port: {number: 80}}}},
		{path: /docs, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}},
		{path: /files/, pathType: ImplementationSpecific, backend: {service: {name: two, port: {number: 80}}}}]`,
		[]string{"/", "/x?y=1", "/login", "/login/x", "/loginx", "/docs", "/docs/", "/docs/a/b", "/docsx", "/files/a", "/filesx"}},
	{"prefixes", `{nginx.ingress.kubernetes.io/rewrite-target: /$2}`, `[
		{path: '/shop(/|$)(.*)', pathType: ImplementationSpecific, backend: {service: {name: one, port: {number: 80}}}},
		{path: '/deep/down(/|$)(.*)', pathType: ImplementationSpecific, backend: {service: {name: two, port: {number: 80}}}}]`,
		[]string{"/shop", "/shop/", "/shop/a/b?c=d", "/deep/down/x", "/deep", "/other"}},
	{"renamed", `{nginx.ingress.kubernetes.io/rewrite-target: /new/$1}`, `[
		{path: '/old/(.*)', pathType: ImplementationSpecific, backend: {service: {name: one, port: {number: 80}}}}]`,
		[]string{"/old/a", "/old/a/b?c=d", "/new/a"}},
	{"onepage", `{nginx.ingress.kubernetes.io/rewrite-target: /index.html}`, `[
		{path: /app, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]`,
		[]string{"/app", "/app/deep/down", "/other"}},
	{"expressions", `{nginx.ingress.kubernetes.io/use-regex: "true"}`, `[
		{path: '/items/[0-9]+', pathType: ImplementationSpecific, backend: {service: {name: one, port: {number: 80}}}},
		{path: '/(cart|order)s?/', pathType: ImplementationSpecific, backend: {service: {name: two, port: {number: 80}}}}]`,
		[]string{"/items/7", "/items/7/parts", "/ITEMS/7", "/items/x", "/carts/1", "/order/2", "/ordered"}},
	{"start", `{nginx.ingress.kubernetes.io/app-root: /welcome}`, `[
		{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]`,
		[]string{"/", "/welcome", "/x"}},
	{"gone", `{nginx.ingress.kubernetes.io/permanent-redirect: "https://new.example.com/start"}`, `[
		{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]`,
		[]string{"/", "/x"}},
}

// heard is what a client gets, and what the backend was asked for.
type heard struct {
	Status            int
	Version, Location string
	Asked             string
}

// hear asks one server. Redirects are not followed.
func (w *world) hear(server *devcluster.Server, host, path string) (heard, error) {
	client := &http.Client{
		Transport:     &http.Transport{DialContext: w.cluster.Dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+server.Inside+path, nil)
	if err != nil {
		return heard{}, err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return heard{}, err
	}
	defer response.Body.Close()
	h := heard{Status: response.StatusCode, Asked: response.Header.Get("X-Asked")}
	if to := response.Header.Get("Location"); to != "" {
		// Where a client goes: one says http://host/path, the other //host/path.
		at, err := (&url.URL{Scheme: "http", Host: host, Path: "/"}).Parse(to)
		if err != nil {
			return h, err
		}
		h.Location = at.String()
	}
	if h.Status == http.StatusOK {
		var answer struct{ Version string }
		err = json.NewDecoder(response.Body).Decode(&answer)
		h.Version = answer.Version
	}

	return h, err
}

// Ingresses served by ingress-nginx, and their translations served by a Gateway, answer every request alike.
func TestIngressNginxAndTheTranslation(t *testing.T) {
	w := open(t)
	old, err := w.cluster.StartIngressNginx(t.Context())
	if errors.Is(err, foreign.ErrNoNginx) {
		t.Skip(err)
	}
	require.NoError(t, err)
	gateway, err := w.cluster.StartTraefik(t.Context())
	require.NoError(t, err)
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: moved}}`)
	for _, name := range []string{"one", "two"} {
		w.apply(fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: moved}, spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}}`, name),
			fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s, namespace: moved}, spec: {selector: {matchLabels: {app: %[1]s}},
			template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: app, image: "example.com/app:%[1]s"}]}}}}`, name))
	}
	for _, one := range moving {
		host := one.name + ".example.com"
		ingress := fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: %s, namespace: moved, annotations: %s},
			spec: {ingressClassName: nginx, rules: [{host: %s, http: {paths: %s}}]}}`, one.name, orEmpty(one.annotations), host, one.paths)
		var read networkingv1.Ingress
		require.NoError(t, yaml.UnmarshalStrict([]byte(ingress), &read))
		result, err := migration.Translate(&read, migration.Options{GatewayName: devcluster.GatewayName, GatewayNamespace: devcluster.GatewayNamespace})
		require.NoError(t, err)
		w.apply(ingress)
		for _, route := range result.Routes {
			raw, err := yaml.Marshal(map[string]any{"apiVersion": route.APIVersion, "kind": route.Kind, "metadata": route.ObjectMeta, "spec": route.Spec})
			require.NoError(t, err)
			w.apply(string(raw))
		}
	}
	for _, one := range moving {
		t.Run(one.name, func(t *testing.T) {
			host := one.name + ".example.com"
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				for _, server := range []*devcluster.Server{old, gateway} {
					h, err := w.hear(server, host, one.asked[0])
					require.NoError(c, err)
					require.NotContains(c, []int{http.StatusNotFound, http.StatusServiceUnavailable}, h.Status)
				}
			}, patience, patience/300, "both serve what was applied")
			for _, path := range one.asked {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					before, err := w.hear(old, host, path)
					require.NoError(c, err)
					after, err := w.hear(gateway, host, path)
					require.NoError(c, err)
					require.Equal(c, before, after, "%s: ingress-nginx, then the Gateway", path)
				}, patience/6, patience/300)
			}
		})
	}
}

func orEmpty(annotations string) string {
	if annotations == "" {
		return "{}"
	}

	return annotations
}
