package devcluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"k8s.io/client-go/kubernetes"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// startNet is startCluster for StartNet. It skips, and says why, only where the
// kernel refuses namespaces.
func startNet(t *testing.T, opts devcluster.Options) *devcluster.Cluster {
	t.Helper()
	return startWith(t, func(ctx context.Context, opts devcluster.Options) (*devcluster.Cluster, error) {
		opts.Binaries = givenBinaries()
		c, err := devcluster.StartNet(ctx, opts)
		if errors.Is(err, devcluster.ErrNoNamespace) {
			t.Skip(err)
		}
		return c, err
	}, opts)
}

func TestPodAddressesAnswerInTheNamespace(t *testing.T) {
	c := startNet(t, devcluster.Options{Nodes: 1})
	startEcho(t, c)
	client := clientFor(t, c.Config())
	if err := c.Apply(t.Context(), replicaSet("web", 2, nil)); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, client, "web", 2)

	dialing := http.Client{Transport: &http.Transport{DialContext: c.Dial}}
	for _, pod := range listPods(t, client, "app=web") {
		inside := pod.Status.PodIP + ":8080"
		outside, err := c.Forward(t.Context(), inside)
		if err != nil {
			t.Fatal(err)
		}
		poll(t, "the server for all pods to listen", func() error {
			got, err := get(http.DefaultClient, "http://"+outside)
			return errors.Join(err, equal("answer through Forward", got, inside))
		})
		got, err := get(&dialing, "http://"+inside)
		if err != nil || got != inside {
			t.Errorf("answer through Dial is %q, %v; want %q", got, err, inside)
		}
	}

	// Where nothing listens there is an error, no empty answer.
	closed, err := c.Forward(t.Context(), "10.244.0.1:81")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(http.DefaultClient, "http://"+closed); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("a forward to a closed port gives %q, %v; want a reset connection", got, err)
	}
	if got, err := get(&dialing, "http://10.244.0.1:81"); err == nil {
		t.Errorf("dialing a closed port gives %q, want an error", got)
	}
}

// startEcho runs the echo server in the cluster's network on port 8080.
func startEcho(t *testing.T, c *devcluster.Cluster) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	echo := c.Command(t.Context(), self)
	echo.Env = append(os.Environ(), playEcho+"=0.0.0.0:8080")
	echo.Stderr = os.Stderr
	if err := echo.Start(); err != nil {
		t.Fatal(err)
	}
}

func get(client *http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

func TestTraefikSplitsByWeight(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs a gateway or Prometheus, which take minutes to build: make e2e runs this")
	}
	c := startNet(t, devcluster.Options{Nodes: 1, Log: testLog{t}})
	startEcho(t, c)
	client := clientFor(t, c.Config())
	gateway, err := c.StartTraefik(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range []string{"stable", "canary"} {
		if err := c.Apply(t.Context(), replicaSet(app, 2, nil), service(app)); err != nil {
			t.Fatal(err)
		}
		awaitReplicas(t, client, app, 2)
	}
	for _, weights := range [][2]int{{80, 20}, {30, 70}} {
		if err := c.Apply(t.Context(), route(weights)); err != nil {
			t.Fatal(err)
		}
		// Old and new weights mix until the gateway has taken the new ones in;
		// both its ways to the outside must show them.
		poll(t, fmt.Sprintf("the gateway to split %d/%d", weights[0], weights[1]), func() error {
			return checkSplit(t, client, http.DefaultClient, gateway.Outside, weights)
		})
		inside := &http.Client{Transport: &http.Transport{DialContext: c.Dial}}
		if err := checkSplit(t, client, inside, gateway.Inside, weights); err != nil {
			t.Error(err)
		}
	}

	if err := gateway.Stop(); err != nil {
		t.Fatal(err)
	}
	if got, err := get(http.DefaultClient, "http://"+gateway.Outside); err == nil {
		t.Errorf("the stopped gateway answers %q", got)
	}
}

// checkSplit fails unless of 1000 requests exactly the share of each weight
// reached pods of its service: Traefik deals requests out, it does not roll dice.
func checkSplit(t *testing.T, client kubernetes.Interface, by *http.Client, gateway string, weights [2]int) error {
	t.Helper()
	appOf := map[string]string{}
	for _, app := range []string{"stable", "canary"} {
		for _, pod := range listPods(t, client, "app="+app) {
			appOf[pod.Status.PodIP+":8080"] = app
		}
	}
	counts := map[string]int{}
	for range 1000 {
		pod, err := get(by, "http://"+gateway)
		if err != nil {
			return err
		}
		counts[appOf[pod]]++
	}
	t.Logf("weights %v: %v", weights, counts)
	return equal("requests to canary", counts["canary"], 10*weights[1])
}

func service(app string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
`, app)
}

func route(weights [2]int) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: %s, namespace: %s}]
  rules:
  - backendRefs:
    - {name: stable, port: 80, weight: %d}
    - {name: canary, port: 80, weight: %d}
`, devcluster.GatewayName, devcluster.GatewayNamespace, weights[0], weights[1])
}

func TestPrometheusScrapesPodsAtTheirAddresses(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs a gateway or Prometheus, which take minutes to build: make e2e runs this")
	}
	c := startNet(t, devcluster.Options{Nodes: 1, Log: testLog{t}})
	startEcho(t, c)
	prometheus, err := c.StartPrometheus(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	scraped := map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
	if err := c.Apply(t.Context(), replicaSet("seen", 3, scraped), replicaSet("unseen", 1, nil)); err != nil {
		t.Fatal(err)
	}
	// A target per pod with the pod's labels, and none for pods that did not ask.
	const query = `count by (app, namespace) (echo_up) == 3 unless on () (echo_up{app!="seen"})`
	poll(t, "three pods to be scraped", func() error {
		got, err := get(http.DefaultClient, "http://"+prometheus.Outside+"/api/v1/query?query="+url.QueryEscape(query))
		if err != nil {
			return err
		}
		if !strings.Contains(got, `"metric":{"app":"seen","namespace":"default"}`) {
			return errors.New(got)
		}
		return nil
	})
}

func TestServersNeedANamespace(t *testing.T) {
	c := startCluster(t, devcluster.Options{APIServerOnly: true})
	if _, err := c.StartTraefik(t.Context()); err == nil || !strings.Contains(err.Error(), "StartNet") {
		t.Errorf("StartTraefik outside of a namespace: %v, want an error that names StartNet", err)
	}
	if _, err := c.StartPrometheus(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "StartNet") {
		t.Errorf("StartPrometheus outside of a namespace: %v, want an error that names StartNet", err)
	}
}

// testLog writes the progress of builds to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
