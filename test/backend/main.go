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

	"golang.org/x/sync/errgroup"
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
	calls := flag.String("grpc-listen", "", "address to answer gRPC calls on; empty for none")
	secure := flag.String("tls-listen", "", "address to answer over TLS on; empty for none")
	namespace := flag.String("namespace", "", "answer only for pods of this namespace; empty for all")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, addresses{*listen, *calls, *secure}, *namespace); err != nil {
		fmt.Fprintf(os.Stderr, "backend: %v\n", err)
		os.Exit(1)
	}
}

// addresses are where to listen for plain HTTP, gRPC and HTTP over TLS.
type addresses struct{ http, grpc, tls string }

// run answers until ctx ends.
func run(ctx context.Context, kubeconfig string, listen addresses, namespace string) error {
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
	var group errgroup.Group
	serve := func(address string, how func(context.Context, net.Listener) error) {
		if address == "" {
			return
		}
		group.Go(func() error {
			inner, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			err = how(ctx, newListener(inner, pods, arrivalGrace))
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	serve(listen.http, serveHTTP)
	serve(listen.grpc, serveGRPC)
	serve(listen.tls, serveTLS)
	return group.Wait()
}
