// Command devcluster builds the programs of a development cluster ahead of time,
// and runs one for playing with.
//
//	devcluster build [control-plane|traefik|prometheus|promtool|kubectl|all]…
//	devcluster up [-nodes N]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// programs are what can be built, in the order in which "all" builds them.
var programs = []struct {
	name    string
	program *foreign.Program
}{
	{"control-plane", foreign.ControlPlane},
	{"traefik", foreign.Traefik},
	{"prometheus", foreign.Prometheus},
	{"promtool", foreign.Promtool},
	{"kubectl", foreign.Kubectl},
	{"istiod", foreign.Istiod},
	{"xdsclient", foreign.XDSClient},
	{"ingress-nginx", foreign.IngressNginx},
	{"kubelet", foreign.Kubelet},
	{"containerd", foreign.Containerd},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "devcluster: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("the first argument must be build or up")
	}
	switch args[0] {
	case "build":
		return build(ctx, args[1:])
	case "up":
		return up(ctx, args[1:])
	default:
		return fmt.Errorf("unknown command %q; the first argument must be build or up", args[0])
	}
}

// build prints the path of each binary on standard output.
func build(ctx context.Context, names []string) error {
	chosen := []*foreign.Program{foreign.Supervisor}
	var known []string
	for _, p := range programs {
		known = append(known, p.name)
	}
	if len(names) == 0 {
		names = []string{"all"}
	}
	for _, name := range names {
		found := false
		for _, p := range programs {
			if p.name == name || name == "all" {
				chosen, found = append(chosen, p.program), true
			}
		}
		if !found {
			return fmt.Errorf("unknown program %q; there are %s and all", name, strings.Join(known, ", "))
		}
	}
	paths, err := foreign.Build(ctx, os.Stderr, chosen...)
	if err != nil {
		return err
	}
	for _, path := range paths[1:] {
		fmt.Println(path)
	}
	return nil
}

// up runs a cluster until it is interrupted.
func up(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	nodes := flags.Int("nodes", 3, "number of simulated nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cluster, err := devcluster.Start(ctx, devcluster.Options{Nodes: *nodes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	fmt.Printf("export KUBECONFIG=%s\n", cluster.KubeconfigPath())
	fmt.Fprintln(os.Stderr, "the cluster is ready; interrupt (Ctrl-C) to stop it")
	select {
	case <-ctx.Done():
		return nil
	case <-cluster.Done():
		return fmt.Errorf("the cluster has ended by itself; see the logs in %s", cluster.LogDir())
	}
}
