package dataplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

const kindsRouting = `{plugins: {argoproj-labs/gatewayAPI: {grpcRoute: rpc, tcpRoutes: [{name: raw}], tlsRouteSelector: {matchLabels: {app: sealed}}, drainSeconds: 1}}}`

const kindsRoutes = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: rpc, namespace: kinds}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system, sectionName: web}]
  hostnames: [rpc.example.com]
  rules: [{backendRefs: [{name: app-stable, port: 90}, {name: app-canary, port: 90, weight: 0}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: raw, namespace: kinds}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system, sectionName: tcp}]
  rules: [{backendRefs: [{name: app-stable, port: 80}, {name: app-canary, port: 80, weight: 0}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: sealed, namespace: kinds, labels: {app: sealed}}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system, sectionName: tls}]
  hostnames: [sealed.example.com]
  rules: [{backendRefs: [{name: app-stable, port: 443}, {name: app-canary, port: 443, weight: 0}]}]
`

// One rollout with a GRPCRoute by name, a TCPRoute of a list and a TLSRoute by
// label: calls, and connections, go by its weights.
func TestOtherKindsOnTraefik(t *testing.T) {
	w := open(t)
	gateway, err := w.cluster.StartTraefikWith(t.Context(), devcluster.TraefikOptions{Streams: true})
	require.NoError(t, err)
	w.control("gatewayapi")
	m := &table{t: t, root: w.root, name: "Gateway API on Traefik 3.6, other kinds of routes"}
	defer m.publish()

	const ns = "kinds"
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: kinds}}`, serviceYAML(ns, "app-stable"), serviceYAML(ns, "app-canary"), kindsRoutes,
		rolloutYAML(ns, kindsRouting, strings.Join([]string{weight(30), pause, weight(75), pause}, ", ")))
	w.await(ns, "v1 is healthy", alone)
	clients := []struct {
		kind string
		ask  ask
	}{
		{"GRPCRoute, calls", overGRPC(t, w.cluster, gateway.Inside, "rpc.example.com")},
		{"TCPRoute, connections", overConnections(w.cluster, "http://"+devcluster.TCPEntry)},
		{"TLSRoute, connections", overConnections(w.cluster, "https://sealed.example.com:9443")},
	}
	for _, c := range clients {
		awaitServing(t, c.ask)
	}
	measure := func(step string, asked float64) {
		t.Helper()
		for _, c := range clients {
			m.share(step+", "+c.kind, asked, "v2", count(t, 2000, c.ask))
		}
	}

	w.update(ns, "v2")
	w.await(ns, "v2 at 30", paused(1, 30))
	measure("setWeight 30", 30)
	w.resume(ns)
	w.await(ns, "v2 at 75", paused(3, 75))
	measure("setWeight 75", 75)
	w.resume(ns)
	w.await(ns, "v2 is promoted, v1 scaled down", alone)
	measure("promoted", 100)
}

// overConnections makes a connection for each request.
func overConnections(cluster *devcluster.Cluster, url string) ask {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":9443") {
				address = devcluster.TLSEntry
			}

			return cluster.Dial(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // The app signs for itself; what counts is where it is.
	}}

	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
		if err != nil {
			return "", err
		}
		if response.StatusCode != http.StatusOK {
			return "", fmt.Errorf("status %d: %.80s", response.StatusCode, body)
		}

		return versionIn(body)
	}
}

// overGRPC makes calls over one connection.
func overGRPC(t testing.TB, cluster *devcluster.Cluster, address, host string) ask {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return cluster.Dial(ctx, "tcp", address) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })

	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var out wrapperspb.StringValue
		if err := conn.Invoke(ctx, "/shop.Cart/Get", &emptypb.Empty{}, &out); err != nil {
			return "", err
		}

		return versionIn([]byte(out.GetValue()))
	}
}
