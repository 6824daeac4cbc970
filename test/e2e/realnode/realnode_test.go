// Package realnode installs Sluice as its users do, on a node whose pods run: the
// image that tools/image writes, the manifests of deploy/, a real kubelet with
// containerd and runc, a real gateway, and an application in real pods.
package realnode

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// application is a Rollout behind a gateway; its pods answer v1.
const application = `
apiVersion: v1
kind: Service
metadata: {name: stable}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: canary}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: traefik, namespace: gateway-system}]
  rules: [{backendRefs: [{name: stable, port: 80}, {name: canary, port: 80}]}]
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: ` + devcluster.PauseImage + `
          args: [":8080"]
          env: [{name: ANSWER, value: v1}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
  strategy:
    canary:
      stableService: stable
      canaryService: canary
      trafficRouting: {plugins: {argoproj-labs/gatewayAPI: {httpRoute: web}}}
      steps: [{setWeight: 30}, {pause: {}}, {setWeight: 60}, {pause: {}}]
`

// The controller is a pod under its own account and restricted pod security; its
// plugins are processes in that pod.
func TestControllerAsAPod(t *testing.T) {
	p := prepare(t)
	require.True(t, t.Run("gateway", p.throughGateway), "the next one begins where this one ends")
	t.Run("newcomer", p.newcomer)
}

// throughGateway is a canary whose traffic a plugin moves. All pods of the controller
// are deleted in the middle of it; those that replace them finish it.
func (p *place) throughGateway(t *testing.T) {
	p.install(t)
	p.shell(t, "kubectl create namespace shop && kubectl apply -n shop -f - <<'YAML'\n"+application+"YAML")
	p.phase(t, "Healthy")
	p.answer(t, "v2")
	p.phase(t, "Paused")
	p.splits(t, 30)

	p.shell(t, "kubectl delete pods -n sluice -l app.kubernetes.io/name=sluice --timeout=90s")
	p.running(t)
	p.promote(t)
	p.shell(t, `kubectl wait rollout/web -n shop --timeout=120s --for=jsonpath='{.status.currentStepIndex}'=3`)
	p.phase(t, "Paused")
	p.splits(t, 60)
	p.promote(t)
	p.phase(t, "Healthy")
	p.splits(t, 100)
	p.measures(t)

	p.answer(t, "v3")
	p.phase(t, "Paused")
	p.shell(t, `kubectl patch rollout web -n shop --subresource=status --type=merge -p '{"status": {"abort": true}}'`)
	p.phase(t, "Degraded")
	p.splits(t, 100)
	p.answer(t, "v2")
	p.phase(t, "Healthy")
	p.undisturbed(t)
	p.uninstall(t)
}

// install is what docs/install.md says, with an image of one's own.
func (p *place) install(t *testing.T) {
	t.Helper()
	deploy, err := filepath.Rel(p.work, filepath.Join(p.root, "deploy"))
	require.NoError(t, err)
	said := p.shell(t, fmt.Sprintf(`cat >"$WORK/kustomization.yaml" <<'YAML'
resources: [%s]
images: [{name: ghcr.io/sluice-rollouts/sluice, newName: %s, newTag: v1}]
YAML
kubectl apply -k "$WORK" 2>&1`, deploy, image))
	assert.NotContains(t, said, "PodSecurity")
	p.shell(t, "kubectl wait --for=condition=Established crd/rollouts.argoproj.io")
	p.running(t)
	assert.Equal(t, "restricted", p.shell(t, `kubectl get namespace sluice -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}'`))
	p.shell(t, `kubectl wait lease/argo-rollouts-controller-lock -n sluice --for=create --timeout=60s`) // one of them leads
}

// running waits until both replicas are ready, which their readiness probes say.
func (p *place) running(t *testing.T) {
	t.Helper()
	p.shell(t, `kubectl rollout status deployment/sluice-controller -n sluice --timeout=180s || {
  kubectl describe pods -n sluice
  exit 1
}`)
}

// phase waits until the Rollout says so of its newest spec.
func (p *place) phase(t *testing.T, phase string) {
	t.Helper()
	p.shell(t, fmt.Sprintf(`
generation=$(kubectl get rollout/web -n shop -o jsonpath='{.metadata.generation}')
kubectl wait rollout/web -n shop --timeout=180s --for=jsonpath='{.status.observedGeneration}'="$generation" >/dev/null &&
kubectl wait rollout/web -n shop --timeout=180s --for=jsonpath='{.status.phase}'=%s >/dev/null || {
  kubectl get rollout/web,httproute/web,pods -n shop -o yaml
  exit 1
}`, phase))
}

// answer is the update: pods that answer something else.
func (p *place) answer(t *testing.T, version string) {
	t.Helper()
	p.shell(t, `kubectl patch rollout web -n shop --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "`+version+`"}]'`)
}

// promote ends the pause, once it is there to be ended.
func (p *place) promote(t *testing.T) {
	t.Helper()
	p.shell(t, `kubectl wait rollout/web -n shop --timeout=60s --for=jsonpath='{.status.pauseConditions[0].reason}'=CanaryPauseStep
kubectl patch rollout web -n shop --subresource=status --type=merge -p '{"status": {"pauseConditions": null}}'`)
}

// splits waits until the gateway sends about this share of the requests to v2 and
// the rest, if any, to v1; no request may fail then.
func (p *place) splits(t *testing.T, percent int) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got := p.answers(t)
		assert.InDelta(c, percent, got["v2"], 5, "%v", got)
		assert.InDelta(c, 100-percent, got["v1"], 5, "%v", got)
		assert.Equal(c, 100, got["v1"]+got["v2"], "%v", got)
	}, time.Minute, time.Second)
}

// pods are the names and addresses of the controller's pods.
func (p *place) pods(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(p.shell(t, `kubectl get pods -n sluice -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}'`)) {
		name, ip, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[name] = ip
	}
	require.Len(t, found, 2)
	return found
}

// measures: each pod answers its probes, and the one that leads tells of the Rollout
// and of the plugin that moved its traffic.
func (p *place) measures(t *testing.T) {
	t.Helper()
	told := ""
	for name, ip := range p.pods(t) {
		for _, probe := range []string{"/healthz", "/readyz"} {
			_, err := p.get(t, ip+":8080", probe)
			require.NoError(t, err, "%s of %s", probe, name)
		}
		metrics, err := p.get(t, ip+":8090", "/metrics")
		require.NoError(t, err, name)
		assert.Contains(t, metrics, `argo_rollouts_controller_info{version="v1"} 1`)
		told += metrics
	}
	assert.Contains(t, told, `rollout_info{name="web",namespace="shop",phase="Healthy"`)
	assert.Contains(t, told, `sluice_plugin_state{plugin="gatewayapi",state="Ready"} 1`)
}

// undisturbed: no container was restarted, nothing was refused, and plugins are kept
// from the account's token where the kernel can do it.
func (p *place) undisturbed(t *testing.T) {
	t.Helper()
	assert.Equal(t, "0 0", p.shell(t, `kubectl get pods -n sluice -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'`))
	log := p.node.PodLog("sluice", "sluice-controller")
	require.Contains(t, log, "rollout", "a log of something")
	for _, fault := range []string{"forbidden", "panic", "breaks an invariant", "read-only file system", "permission denied"} {
		assert.NotContains(t, log, fault)
	}
	if landlocked() {
		assert.NotContains(t, log, "Plugins can read the files", "the runtime's filter of system calls lets them be kept from it")
	}
}

// landlocked: the kernel, which the pods share, has Landlock. This asks for its version.
func landlocked() bool {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0 && version > 0
}

// uninstall leaves nothing, and the pods end within their time.
func (p *place) uninstall(t *testing.T) {
	t.Helper()
	p.shell(t, `kubectl delete rollouts --all -n shop --timeout=60s
kubectl delete namespace shop --timeout=120s
kubectl delete -k "$WORK" --timeout=120s`)
	left := p.shell(t, `kubectl get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,namespace,lease,configmap,pod -A -o name | grep -iE 'sluice|argo' || true`)
	assert.Empty(t, left)
}
