package realnode

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// functions let the newcomer's controller be the pods of the installed Deployment, of
// an image of one's own. That one is on the node and in no registry, and the tag in
// deploy/ asks for a registry.
const functions = `
start_controller() {
  kubectl patch deployment sluice-controller -n sluice -p '{"spec": {"template": {"spec": {"containers": [
    {"name": "controller", "image": "` + image + `:v1", "imagePullPolicy": "IfNotPresent"}]}}}}'
  kubectl rollout status deployment/sluice-controller -n sluice --timeout=180s
}
stop_controller() {
  [ "$(kubectl get pods -n sluice -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}')" = "0 0" ]
}
`

// newcomer takes the path of test/e2e/newcomer with real pods: those of the
// controller, of the applications, and of the Job that measures.
func (p *place) newcomer(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "newcomer", "newcomer.sh"))
	require.NoError(t, err)
	for _, name := range []string{"web:v1", "web:v2", "web:v3", "api:v1", "api:v2"} {
		require.NoError(t, p.node.Provide(t.Context(), "example.com/"+name))
	}
	require.NoError(t, p.node.Provide(t.Context(), "example.com/smoke:v1", "end"))
	t.Log(p.shell(t, functions+string(script)))
}
