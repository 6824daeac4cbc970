package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The arguments of a Deployment of Argo Rollouts' controller start this one:
// what has a meaning here is taken over, the rest is named with the reason.
func TestArgumentsOfArgoRollouts(t *testing.T) {
	f := newFlags()
	cfg, err := f.parse([]string{
		"--rollout-resync", "900", "--namespaced", "--loglevel", "warn", "--logformat", "text", "--kloglevel", "0",
		"--metricsPort", "8091", "--healthzPort", "8081", "--instance-id", "blue", "--qps", "40", "--burst", "80",
		"--rollout-threads", "20", "--experiment-threads", "11", "--analysis-threads", "30", "--service-threads", "10", "--ingress-threads", "10",
		"--ephemeral-metadata-threads", "10", "--ephemeral-metadata-update-pod-retries", "3", "--istio-api-version", "v1alpha3",
		"--ambassador-api-version", "getambassador.io/v2", "--traffic-split-api-version", "v1alpha1", "--traefik-api-group", "traefik.io",
		"--traefik-api-version", "traefik.io/v1alpha1", "--ingress-api-version", "", "--appmesh-crd-version", "v1beta2",
		"--alb-ingress-classes", "alb", "--nginx-ingress-classes", "nginx", "--aws-verify-target-group", "--alb-verify-weight",
		"--aws-target-group-binding-api-version", "elbv2.k8s.aws/v1beta1", "--alb-tag-key-resource-id", "ingress.k8s.aws/resource",
		"--leader-elect=true", "--leader-election-lease-duration", "30s", "--leader-election-renew-deadline", "20s", "--leader-election-retry-period", "4s",
		"--self-service-notification-enabled", "--controllers", "analysis", "--enable-pprof-address", "127.0.0.1:6060",
	})
	require.NoError(t, err)
	assert.True(t, cfg.Namespaced)
	assert.True(t, cfg.LeaderElect)
	assert.Equal(t, "blue", cfg.InstanceID)
	assert.Equal(t, []int{20, 30, 11}, []int{cfg.Threads, cfg.AnalysisThreads, cfg.ExperimentThreads})
	assert.Equal(t, []time.Duration{30 * time.Second, 20 * time.Second, 4 * time.Second}, []time.Duration{cfg.LeaseDuration, cfg.RenewDeadline, cfg.RetryPeriod})
	assert.Equal(t, []string{":8091", ":8081", "127.0.0.1:6060"}, []string{cfg.MetricsAddress, cfg.HealthAddress, cfg.ProfileAddress})
	assert.Equal(t, []any{40.0, 80}, []any{cfg.QPS, cfg.Burst})
	assert.Len(t, f.ignored(), len(ofArgo), "each one without effect is named")
}

func TestArgumentsThatAreWrong(t *testing.T) {
	for arg, says := range map[string]string{
		"--no-such-flag":     "no-such-flag",
		"--metricsPort=much": "much",
		"serve":              `unexpected argument "serve"`,
	} {
		_, err := newFlags().parse([]string{arg})
		require.ErrorContains(t, err, says)
	}
	for _, wrong := range [][]string{{"loud", "json"}, {"info", "xml"}} {
		_, err := logger(wrong[0], wrong[1], &bytes.Buffer{})
		require.ErrorContains(t, err, "give")
	}
}

// Two hundred rollouts that are scaled in one second are two hundred lines.
func TestNoLogLineIsDropped(t *testing.T) {
	var out bytes.Buffer
	log, err := logger("info", "json", &out)
	require.NoError(t, err)
	about := log.WithValues("namespace", "shop").WithValues("name", "web")
	for range 200 {
		about.Info("scaled ReplicaSet", "reason", "step 1/2")
		about.V(1).Info("details")
	}
	for _, text := range []string{"\n", `"namespace":"shop"`, `"name":"web"`, `"reason":"step 1/2"`} {
		assert.Equal(t, 200, bytes.Count(out.Bytes(), []byte(text)), text)
	}
}
