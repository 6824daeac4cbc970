package newcomer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// rolloutYAML is a canary by replicas with an analysis by a Job at its end; image and
// steps are filled in.
const rolloutYAML = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: NAME}
spec:
  replicas: 4
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: web, image: "example.com/web:v1"}]}
  strategy: {canary: {steps: [STEPS]}}
`

const templateYAML = `
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: smoke}
spec:
  metrics:
    - name: smoke
      provider:
        job: {spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: smoke, image: "example.com/smoke:v1"}]}}}}
`

func rollout(name, steps string) string {
	return strings.NewReplacer("NAME", name, "STEPS", steps).Replace(rolloutYAML)
}

func (p *place) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	p.shell(t, "kubectl apply -n "+namespace+" -f - <<'YAML'\n"+manifest+"\nYAML")
}

// phase waits until the Rollout says so of its newest spec.
func (p *place) phase(t *testing.T, namespace, name, phase string) {
	t.Helper()
	p.shell(t, fmt.Sprintf(`
generation=$(kubectl get rollout/%[2]s -n %[1]s -o jsonpath='{.metadata.generation}')
kubectl wait rollout/%[2]s -n %[1]s --timeout=120s --for=jsonpath='{.status.observedGeneration}'="$generation" >/dev/null &&
kubectl wait rollout/%[2]s -n %[1]s --timeout=120s --for=jsonpath='{.status.phase}'=%[3]s >/dev/null || {
  kubectl get rollout/%[2]s -n %[1]s -o yaml
  exit 1
}`, namespace, name, phase))
}

func (p *place) image(t *testing.T, namespace, name, version string) {
	t.Helper()
	p.shell(t, fmt.Sprintf(`kubectl patch rollout %s -n %s --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/web:%s"}]'`, name, namespace, version))
}

func (p *place) promote(t *testing.T, namespace, name string) {
	t.Helper()
	p.shell(t, fmt.Sprintf(`kubectl patch rollout %s -n %s --subresource=status --type=merge -p '{"status": {"pauseConditions": null}}'`, name, namespace))
}

// canary goes from nothing to v2, by a pause and an analysis.
func (p *place) canary(t *testing.T, namespace string) {
	t.Helper()
	p.apply(t, namespace, templateYAML+"---"+rollout("web", "{setWeight: 25}, {pause: {}}, {analysis: {templates: [{templateName: smoke}]}}"))
	p.phase(t, namespace, "web", "Healthy")
	p.image(t, namespace, "web", "v2")
	p.phase(t, namespace, "web", "Paused")
	p.promote(t, namespace, "web")
	p.phase(t, namespace, "web", "Healthy")
	assert.Equal(t, "Successful", p.shell(t, "kubectl get analysisrun -o jsonpath='{.items[*].status.phase}' -n "+namespace))
}

// readsSecrets asks whether the controller's account may read Secrets of a namespace.
func (p *place) readsSecrets(t *testing.T, account, namespace string) string {
	t.Helper()
	return strings.TrimSpace(p.shell(t, fmt.Sprintf("kubectl auth can-i get secrets -n %s --as=system:serviceaccount:%s:sluice-controller || true", namespace, account)))
}

// One namespace is served; of others nothing is asked.
func namespaced(t *testing.T, p *place) {
	p.shell(t, "kubectl apply -k deploy/crds && kubectl apply -k deploy/roles && kubectl wait --for=condition=Established crd/rollouts.argoproj.io")
	p.shell(t, "kubectl create namespace sluice && kubectl create namespace elsewhere && kubectl create namespace shop")
	p.shell(t, "kubectl apply -k deploy/namespaced")
	p.apply(t, "elsewhere", rollout("web", "{setWeight: 25}")+"---"+strings.Replace(rollout("broken", ""), "replicas: 4", "replicas: 4\n  minReadySeconds: 700", 1))
	c := p.start(t, "sluice")
	p.canary(t, "sluice")
	assert.Empty(t, p.shell(t, "kubectl get rollouts,replicasets -n elsewhere -o jsonpath='{.items[*].status}'"))
	assert.Equal(t, "yes", p.readsSecrets(t, "sluice", "sluice"))
	assert.Equal(t, "no", p.readsSecrets(t, "sluice", "elsewhere"))
	c.stop(t)
	kinds := map[string]bool{}
	for _, r := range c.requests(t) {
		if r.ObjectRef == nil || r.ObjectRef.Resource == "selfsubjectaccessreviews" {
			continue // discovery, and questions about its own rights
		}
		kinds[r.ObjectRef.Resource] = true
		assert.Equal(t, "sluice", r.ObjectRef.Namespace, "%s %s", r.Verb, r.RequestURI)
	}
	for _, kind := range []string{"rollouts", "replicasets", "pods", "analysisruns", "jobs", "leases", "configmaps"} {
		assert.True(t, kinds[kind], "nothing was asked of %s", kind)
	}
	p.shell(t, "kubectl delete rollouts,analysistemplates --all -n sluice --timeout=60s && kubectl delete -k deploy/namespaced --timeout=60s")
}

// The whole cluster is served; what is invalid is refused, and reported where it is
// stored already; Secrets are readable where secrets.yaml says so.
func strict(t *testing.T, p *place) {
	p.shell(t, "kubectl apply -k deploy/strict")
	c := p.start(t, "sluice")
	p.canary(t, "shop")
	p.phase(t, "elsewhere", "web", "Healthy")
	p.phase(t, "elsewhere", "broken", "Degraded")
	assert.Contains(t, p.shell(t, `kubectl get rollout broken -n elsewhere -o jsonpath='{.status.conditions[?(@.type=="InvalidSpec")].message}'`), "spec.progressDeadlineSeconds")
	refused := p.shell(t, `! kubectl patch rollout web -n shop --type=merge -p '{"spec": {"minReadySeconds": 700}}' 2>&1`)
	assert.Contains(t, refused, "ValidatingAdmissionPolicy 'sluice-rollouts'")
	assert.Contains(t, refused, "denied request: spec.progressDeadlineSeconds")
	p.shell(t, `kubectl patch rollout broken -n elsewhere --type=merge -p '{"spec": {"minReadySeconds": 0}}'`)
	p.phase(t, "elsewhere", "broken", "Healthy")
	assert.Equal(t, "yes", p.readsSecrets(t, "sluice", "sluice"))
	assert.Equal(t, "no", p.readsSecrets(t, "sluice", "shop"))
	c.stop(t)
}
