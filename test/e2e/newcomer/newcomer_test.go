// Package newcomer runs the path of somebody who meets Sluice for the first time, on
// a real control plane with RBAC: newcomer.sh.
package newcomer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// functions stand for the kubelet: simulated nodes run nothing, so the controller is
// a process here. It has a token of the installed account and nothing else, and the
// arguments of the installed Deployment.
const functions = `
start_controller() {
  token=$(kubectl create token sluice-controller -n sluice --duration=1h)
  sed 's/^ *client-.*//' "$KUBECONFIG" >"$WORK/account"
  kubectl --kubeconfig="$WORK/account" config set-credentials sluice-devcluster --token="$token" >/dev/null
  args=$(kubectl get deployment sluice-controller -n sluice -o jsonpath='{.spec.template.spec.containers[0].args[*]}')
  args=${args/--plugin-dir=\/plugins/--plugin-dir=$WORK/plugins}
  args=${args/--plugin-cache=\/tmp/--plugin-cache=$WORK}
  env -u KUBECONFIG POD_NAMESPACE=sluice "$WORK/controller" --kubeconfig="$WORK/account" $args --metricsPort=0 --healthzPort=0 >"$WORK/log" 2>&1 &
  controller=$!
  trap 'code=$?; kill $controller 2>/dev/null || true; [ $code = 0 ] || tail -30 "$WORK/log"; exit $code' EXIT
}
stop_controller() {
  ! grep -E 'forbidden|panic|invariant' "$WORK/log" || exit 1
  kill $controller
  wait $controller
}
`

func TestNewcomer(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("takes a minute: make e2e runs it")
	}
	root, err := foreign.Root()
	require.NoError(t, err)
	kubectl, err := foreign.Build(t.Context(), os.Stderr, foreign.Kubectl)
	require.NoError(t, err)
	work := t.TempDir()
	for pkg, file := range map[string]string{
		"./cmd/controller": "controller", "./plugins/job": "plugins/job", "./plugins/gatewayapi": "plugins/gatewayapi",
	} {
		build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(work, file), pkg)
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	cluster, err := devcluster.Start(t.Context(), devcluster.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cluster.Stop()) })

	script, err := os.ReadFile(filepath.Join(root, "test/e2e/newcomer/newcomer.sh"))
	require.NoError(t, err)
	run := exec.CommandContext(t.Context(), "bash", "-c", functions+string(script))
	run.Dir = root
	run.Env = append(os.Environ(), "WORK="+work, "KUBECONFIG="+cluster.KubeconfigPath(),
		fmt.Sprintf("PATH=%s:%s", filepath.Dir(kubectl[0]), os.Getenv("PATH")))
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Log(string(out))
}
