package devcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sluice-rollouts/sluice/test/devcluster/internal/supervise"
)

// pollEvery is how often a condition that nothing announces is looked at.
const pollEvery = 25 * time.Millisecond

// component is a running part of the control plane.
type component struct {
	name    string
	log     string
	process *supervise.Process
}

// startComponent starts a part of the control plane binary; its output goes to
// a log file of its name.
func (c *Cluster) startComponent(ctx context.Context, name string, args ...string) (*component, error) {
	return c.startFoundation(ctx, c.opts.Binaries.ControlPlane, name, append([]string{name}, args...))
}

// startFoundation starts a program that lives as long as the cluster, with some
// more environment.
func (c *Cluster) startFoundation(ctx context.Context, program, name string, args []string, env ...string) (*component, error) {
	part := &component{name: name, log: filepath.Join(c.logs, name+".log")}
	log, err := os.Create(part.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	part.process, err = c.supervisor.Start(ctx, supervise.Start{
		Path: program, Args: args, Env: append(componentEnv(), env...), Dir: c.dir, Foundation: true,
	}, null, log, log)
	return part, err
}

// componentEnv keeps components from picking up what the developer's shell sets.
func componentEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOME=" + os.TempDir()}
}

// await polls until ready returns nil. It gives up when the component ends or
// ctx does, with the component's last words.
func (p *component) await(ctx context.Context, what string, ready func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			return fmt.Errorf("%s ended while waiting for %s: %w\n%s", p.name, what, orElse(p.process.Err(), "exit status 0"), p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)\n%s", what, err, ctx.Err(), p.lastWords())
		case <-tick.C:
		}
	}
}

func orElse(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// lastWords is the end of the component's log.
func (p *component) lastWords() string {
	const lines = 15
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimSpace(data)), "\n")
	return fmt.Sprintf("end of the log of %s:\n%s", p.name, strings.Join(all[max(0, len(all)-lines):], "\n"))
}

// startControlPlane starts the components in the order they need each other.
func (c *Cluster) startControlPlane(ctx context.Context, port int) error {
	socket := c.path("etcd.sock")
	etcd, err := c.startComponent(ctx, "etcd",
		"--data-dir="+c.path("etcd"), "--listen=unix://"+socket, "--listen-peer=unix://"+c.path("etcd-peer.sock"))
	if err != nil {
		return err
	}
	err = etcd.await(ctx, "etcd to listen", func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	if err != nil {
		return err
	}
	server, err := c.startComponent(ctx, "apiserver", c.apiserverFlags(port, socket)...)
	if err != nil {
		return err
	}
	if err := server.await(ctx, "the API server to be ready", c.apiserverReady()); err != nil {
		return err
	}
	if c.opts.APIServerOnly {
		return nil
	}
	client := []string{
		"--kubeconfig=" + c.KubeconfigPath(), "--kube-api-qps=500", "--kube-api-burst=1000",
		// There is one of each; and nobody asks them over the network.
		"--leader-elect=false", "--authentication-skip-lookup=true", "--secure-port=0",
	}
	if _, err := c.startComponent(ctx, "controller-manager", append(c.controllerFlags(), client...)...); err != nil {
		return err
	}
	_, err = c.startComponent(ctx, "scheduler", client...)
	return err
}

func (c *Cluster) apiserverFlags(port int, etcd string) []string {
	flags := []string{
		"--etcd-servers=unix://" + etcd,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		// Beside the socket that holds the port; see reservePort.
		"--permit-port-sharing=true",
		// Loopback is refused here; nothing is ever sent to this address.
		"--advertise-address=10.244.255.254",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=" + ServiceCIDR,
		"--tls-cert-file=" + c.path("apiserver.crt"),
		"--tls-private-key-file=" + c.path("apiserver.key"),
		"--client-ca-file=" + c.CAPath(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("service-accounts.key"),
		"--service-account-signing-key-file=" + c.path("service-accounts.key"),
		"--allow-privileged=true",
		// Tests may be many and fast; fairness among them is not the point.
		"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
	}
	if c.opts.APIServerOnly {
		// Nobody creates the service accounts that this plugin wants for pods.
		flags = append(flags, "--disable-admission-plugins=ServiceAccount")
	}
	return append(flags, c.opts.APIServerFlags...)
}

func (c *Cluster) controllerFlags() []string {
	return []string{
		"--root-ca-file=" + c.CAPath(),
		"--service-account-private-key-file=" + c.path("service-accounts.key"),
		"--use-service-account-credentials=true",
		// On a machine that is busy or was suspended, a late lease must not turn
		// every pod NotReady.
		"--node-monitor-grace-period=10m",
	}
}

// apiserverReady asks the API server whether it is.
func (c *Cluster) apiserverReady() func(context.Context) error {
	client, err := rest.HTTPClientFor(c.admin)
	if err != nil {
		return func(context.Context) error { return err }
	}
	return func(ctx context.Context) error {
		return httpOK(ctx, client, c.server+"/readyz")
	}
}

// httpOK fails unless a GET of the URL answers 200.
func httpOK(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
