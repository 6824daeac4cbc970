package newcomer

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/docs"
)

// argoYAML is Argo Rollouts as its manifests install it, as far as a migration meets
// it; its controller works at this moment.
const argoYAML = `
apiVersion: v1
kind: ConfigMap
metadata: {name: argo-rollouts-config, labels: {app.kubernetes.io/part-of: argo-rollouts}}
data: {stepPlugins: "[]"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: argo-rollouts, labels: {app.kubernetes.io/part-of: argo-rollouts}}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: argo-rollouts}}
  template:
    metadata: {labels: {app.kubernetes.io/name: argo-rollouts}}
    spec: {containers: [{name: argo-rollouts, image: "quay.io/argoproj/argo-rollouts:latest"}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: argo-rollouts, labels: {app.kubernetes.io/part-of: argo-rollouts}}
rules: [{apiGroups: [argoproj.io], resources: [rollouts], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: argo-rollouts, labels: {app.kubernetes.io/part-of: argo-rollouts}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: argo-rollouts}
subjects: [{kind: ServiceAccount, name: argo-rollouts, namespace: argo-rollouts}]
`

// argoStatus is what Argo Rollouts writes at the first pause of the canary below.
const argoStatus = `{
  "HPAReplicas": 4, "availableReplicas": 4, "readyReplicas": 4, "replicas": 4, "updatedReplicas": 1, "blueGreen": {}, "canary": {},
  "conditions": [
    {"type": "Available", "status": "True", "reason": "AvailableReason", "message": "Rollout has minimum availability",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
    {"type": "Paused", "status": "True", "reason": "RolloutPaused", "message": "Rollout is paused",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
    {"type": "Progressing", "status": "Unknown", "reason": "RolloutPaused", "message": "Rollout is paused",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}],
  "controllerPause": true, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
  "currentPodHash": %q, "stableRS": %q, "currentStepHash": %q, "currentStepIndex": 1, "phase": "Paused", "message": "CanaryPauseStep",
  "observedGeneration": %q, "selector": "app=pay"}`

const fourSteps = "{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {}}"

// paused is a status at the second pause, as far as Argo Rollouts reads it.
type paused struct {
	CurrentPodHash, StableRS, CurrentStepHash, ObservedGeneration, Phase, Message string
	CurrentStepIndex                                                              *int
	ControllerPause                                                               bool
	PauseConditions                                                               []struct{ Reason, StartTime string }
	Conditions                                                                    []struct{ Type, Status, Reason string }
}

// migration follows docs/migrate-from-argo.md, there in the middle of a canary, back
// in the middle of it, there again, and its clean-up.
func migration(t *testing.T, p *place) {
	guide := commandsOf(t)
	midCanary(t, p)
	hash := func(version string) string {
		return p.shell(t, `kubectl get replicasets -n shop -l app=pay -o jsonpath='{range .items[*]}{.spec.template.spec.containers[0].image} {.metadata.labels.rollouts-pod-template-hash}{"\n"}{end}' | awk '$1 ~ /`+version+`$/ {printf "%s", $2}'`)
	}
	pods := func() string {
		return p.shell(t, "kubectl get pods -n shop -l app=pay -o jsonpath='{.items[*].metadata.uid}'")
	}
	generation := p.shell(t, "kubectl get rollout pay -n shop -o jsonpath='{.metadata.generation}'")
	status, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/status", "value": json.RawMessage(fmt.Sprintf(argoStatus, hash("v2"), hash("v1"), stepHash(), generation))}})
	require.NoError(t, err)
	p.shell(t, "kubectl patch rollout pay -n shop --subresource=status --type=json -p '"+string(status)+"'")
	holdLease(t, p)
	before := pods()

	p.shell(t, guide["there"])
	c := p.start(t, "argo-rollouts")
	p.shell(t, `kubectl wait lease/argo-rollouts-controller-lock -n argo-rollouts --timeout=90s --for=jsonpath='{.spec.leaseTransitions}'=1`)
	p.phase(t, "elsewhere", "web", "Healthy")
	assert.Equal(t, before, pods(), "a pod was replaced")
	p.promote(t, "shop", "pay")
	p.shell(t, `kubectl wait rollout/pay -n shop --timeout=90s --for=jsonpath='{.status.currentStepIndex}'=3`)
	p.phase(t, "shop", "pay", "Paused")
	before = pods()

	p.shell(t, guide["back"])
	assert.Equal(t, "0 1", p.shell(t, "kubectl get deployment sluice-controller argo-rollouts -n argo-rollouts -o jsonpath='{.items[*].spec.replicas}'"))
	c.stop(t) // as the kubelet does with its pod
	assert.Empty(t, p.shell(t, "kubectl get lease argo-rollouts-controller-lock -n argo-rollouts -o jsonpath='{.spec.holderIdentity}'"), "nobody has to wait for the lease")
	requireArgoStatus(t, p, hash("v2"), hash("v1"), generation)
	assert.Equal(t, before, pods(), "a pod was replaced")

	p.shell(t, "kubectl scale deployment sluice-controller -n argo-rollouts --replicas=2")
	p.shell(t, guide["there"])
	c = p.start(t, "argo-rollouts")
	p.shell(t, guide["afterwards"])
	assert.Empty(t, p.shell(t, "kubectl get deployment,clusterrole,clusterrolebinding -n argo-rollouts -l app.kubernetes.io/part-of=argo-rollouts -o name"))
	assert.Equal(t, "[]", p.shell(t, "kubectl get configmap argo-rollouts-config -n argo-rollouts -o jsonpath='{.data.stepPlugins}'"), "what Argo Rollouts was configured with")
	p.promote(t, "shop", "pay")
	p.phase(t, "shop", "pay", "Healthy")
	assert.Equal(t, hash("v2"), p.shell(t, "kubectl get rollout pay -n shop -o jsonpath='{.status.stableRS}'"))
	assert.Equal(t, "yes", p.readsSecrets(t, "argo-rollouts", "shop"), "as with Argo Rollouts")
	c.stop(t)
}

// commandsOf are the commands of the guide by the names of their blocks.
func commandsOf(t *testing.T) map[string]string {
	t.Helper()
	blocks, err := docs.Read("migrate-from-argo.md")
	require.NoError(t, err)
	out := map[string]string{}
	for _, b := range blocks {
		out[b.Name] = b.Text
	}
	for _, name := range []string{"there", "back", "afterwards"} {
		require.NotEmpty(t, out[name], "the guide has no block %q", name)
	}
	return out
}

// midCanary installs Argo Rollouts, which has brought a canary to its first pause;
// the strict install did that work, and is gone.
func midCanary(t *testing.T, p *place) {
	c := p.start(t, "sluice")
	p.apply(t, "shop", rollout("pay", fourSteps))
	p.phase(t, "shop", "pay", "Healthy")
	p.image(t, "shop", "pay", "v2")
	p.phase(t, "shop", "pay", "Paused")
	c.stop(t)
	p.shell(t, "kubectl delete deployment sluice-controller -n sluice && kubectl create namespace argo-rollouts")
	p.apply(t, "argo-rollouts", argoYAML)
}

// holdLease makes Argo Rollouts the holder of the lease; it does not give it up when
// it ends.
func holdLease(t *testing.T, p *place) {
	p.shell(t, `kubectl apply -f - <<YAML
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: argo-rollouts-controller-lock, namespace: argo-rollouts}
spec: {holderIdentity: argo-rollouts-7d9f_1, leaseDurationSeconds: 15, leaseTransitions: 0, renewTime: "$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)"}
YAML`)
}

// requireArgoStatus fails unless the status says in Argo's fields where the canary
// stands, and has no field that Argo does not know but the routers' memory.
func requireArgoStatus(t *testing.T, p *place, canary, stable, generation string) {
	t.Helper()
	raw := p.shell(t, "kubectl get rollout pay -n shop -o jsonpath='{.status}'")
	var st paused
	require.NoError(t, json.Unmarshal([]byte(raw), &st))
	assert.Equal(t, canary, st.CurrentPodHash)
	assert.Equal(t, stable, st.StableRS)
	assert.Equal(t, stepHash(), st.CurrentStepHash, "with another hash Argo begins anew")
	assert.Equal(t, generation, st.ObservedGeneration)
	assert.Equal(t, "Paused CanaryPauseStep true", fmt.Sprint(st.Phase, " ", st.Message, " ", st.ControllerPause))
	if assert.NotNil(t, st.CurrentStepIndex) {
		assert.Equal(t, 3, *st.CurrentStepIndex)
	}
	if assert.Len(t, st.PauseConditions, 1) {
		assert.Equal(t, "CanaryPauseStep", st.PauseConditions[0].Reason)
		assert.NotEmpty(t, st.PauseConditions[0].StartTime)
	}
	found := map[string]string{}
	for _, c := range st.Conditions {
		found[c.Type] = c.Status + " " + c.Reason
	}
	assert.Equal(t, "True RolloutPaused", found["Paused"])
	assert.Equal(t, "Unknown RolloutPaused", found["Progressing"])
	assert.NotContains(t, found, "Blocked")

	known := argoPaths(t, p)
	var whole any
	require.NoError(t, json.Unmarshal([]byte(raw), &whole))
	walk("status", whole, func(path string) {
		if !strings.HasPrefix(path, "status.canary.routers") {
			assert.True(t, known[path], "%s is not a field of Argo Rollouts", path)
		}
	})
}

// stepHash is Argo's hash of fourSteps: FNV-1a over their JSON, in decimal, with each
// digit replaced by a safe character.
func stepHash() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(`[{"setWeight":25},{"pause":{}},{"setWeight":50},{"pause":{}}]`))
	const safe = "bcdfghjklmnpqrstvwxz2456789"
	out := []byte(fmt.Sprint(h.Sum32()))
	for i, c := range out {
		out[i] = safe[int(c)%len(safe)]
	}
	return string(out)
}

// argoPaths are the fields of a Rollout in Argo's schema.
func argoPaths(t *testing.T, p *place) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.root, "test/compat/testdata/argo-schema-paths.tsv"))
	require.NoError(t, err)
	out := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if kind, rest, _ := strings.Cut(line, "\t"); kind == "Rollout" {
			path, _, _ := strings.Cut(rest, "\t")
			out[path] = true
		}
	}
	require.Greater(t, len(out), 100)
	return out
}

// walk visits the paths of fields in a document, as the schema writes them.
func walk(path string, value any, visit func(string)) {
	visit(path)
	switch v := value.(type) {
	case map[string]any:
		for key, one := range v {
			walk(path+"."+key, one, visit)
		}
	case []any:
		for _, one := range v {
			walk(path+"[]", one, visit)
		}
	}
}
