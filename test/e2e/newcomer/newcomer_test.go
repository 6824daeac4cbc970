// Package newcomer runs the path of somebody who meets Sluice for the first time, on
// a real control plane with RBAC: newcomer.sh; then the other ways to install it, one
// after the other on the same control plane, with the commands of the guides.
package newcomer

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
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

// The ways to install, one after the other on one cluster: deploy/ with everything
// that a newcomer does, one namespace, strict, and in place of Argo Rollouts. In each,
// the controller has only what that install gives it.
func TestInstalls(t *testing.T) {
	p := open(t)
	for _, one := range []struct {
		name string
		way  func(*testing.T, *place)
	}{{"newcomer", newcomer}, {"namespaced", namespaced}, {"strict", strict}, {"migration", migration}} {
		require.True(t, t.Run(one.name, func(t *testing.T) { one.way(t, p) }), "the next one begins where this one ends")
	}
}

func newcomer(t *testing.T, on *place) {
	script, err := os.ReadFile("newcomer.sh")
	require.NoError(t, err)
	run := exec.CommandContext(t.Context(), "bash", "-c", functions+string(script))
	run.Dir, run.Env = on.root, on.env
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Log(string(out))
}
