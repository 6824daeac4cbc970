// The backend is the app of every simulated pod: one process that answers for
// all pod addresses of a cluster whose nodes and kubelets are simulated.
//
// It listens on all addresses of a network namespace in which the pod range is
// local, so the local address of a connection says which pod was meant. The
// pods themselves it knows from the API server: connections to an address of no
// live pod are reset, as a kernel without that listener would do; the others
// are answered with the pod's name, image tag and template hash. Annotations of
// the pod make it slow or faulty (see behaviour.go), and
// each pod serves metrics of its own below /metrics.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// arrivalGrace is how long a connection to an unknown address waits for its
// pod. A real pod has its address before anybody is told of it; this process
// learns of it through a watch, at the same time as a gateway does.
const arrivalGrace = 500 * time.Millisecond

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the cluster whose pods to answer for")
	listen := flag.String("listen", "0.0.0.0:8080", "address to listen on")
	namespace := flag.String("namespace", "", "answer only for pods of this namespace; empty for all")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *listen, *namespace); err != nil {
		fmt.Fprintf(os.Stderr, "backend: %v\n", err)
		os.Exit(1)
	}
}

// run answers until ctx ends.
func run(ctx context.Context, kubeconfig, listen, namespace string) error {
	if kubeconfig == "" {
		return errors.New("--kubeconfig must be set")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading --kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	pods := newDirectory()
	// Listening before the pods are known would reset connections to live ones.
	if err := follow(ctx, client, namespace, pods); err != nil {
		return err
	}
	inner, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := newServer()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	err = server.Serve(newListener(inner, pods, arrivalGrace))
	if ctx.Err() != nil {
		return nil
	}
	return err
}
