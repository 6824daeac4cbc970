// The cluster binary is a whole Kubernetes control plane in one file: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler and KWOK, which plays
// the nodes and their kubelets. The first argument names the component to be,
// the others are that component's own flags:
//
//	cluster etcd --data-dir=… --listen=unix:///…
//	cluster apiserver --etcd-servers=unix:///… …
//	cluster controller-manager --kubeconfig=…
//	cluster scheduler --kubeconfig=…
//	cluster kwok --kubeconfig=…
//
// One file because the components share most of their code: together they are
// half the size of the sum and link once. One process per component because
// logging may be configured only once per process and each component installs
// its own signal handler. Package devcluster starts them.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	// The components register these when built on their own, too.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// components maps the first argument to what runs it; the function returns the
// exit status of the process.
var components = map[string]func() int{
	"etcd":               runEtcd,
	"kwok":               runKwok,
	"apiserver":          kubernetes(func() *cobra.Command { return apiserver.NewAPIServerCommand() }),
	"controller-manager": kubernetes(controllermanager.NewControllerManagerCommand),
	"scheduler":          kubernetes(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
}

func main() {
	if len(os.Args) < 2 {
		fail("no component named")
	}
	run, ok := components[os.Args[1]]
	if !ok {
		fail(fmt.Sprintf("unknown component %q", os.Args[1]))
	}
	// The components parse os.Args themselves.
	os.Args = append([]string{os.Args[1]}, os.Args[2:]...)
	os.Exit(run())
}

// kubernetes adapts a component's cobra command.
func kubernetes(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

func fail(problem string) {
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "cluster: %s; the first argument must be one of %s\n", problem, strings.Join(names, ", "))
	os.Exit(2)
}
