package devcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// Where istiod is reached inside: for clients of xDS, and for its health.
const (
	istiodXDS   = "127.0.0.1:15010"
	istiodAdmin = "127.0.0.1:15080"
)

// ApplyIstio applies the definitions of the version of Istio that StartIstiod
// starts.
func (c *Cluster) ApplyIstio(ctx context.Context) error {
	dir, err := foreign.ModuleDirOf(ctx, foreign.Istiod, "istio.io/istio")
	if err != nil {
		return err
	}
	return c.ApplyFiles(ctx, filepath.Join(dir, "manifests", "charts", "base", "files", "crd-all.gen.yaml"))
}

// StartIstiod starts Istio's control plane in a cluster of StartNet, with its
// definitions, and returns when it is ready. There are no sidecars: clients
// learn from it over xDS how to route; see StartXDSClient. It has an
// administrator's rights, no webhooks and no certificates.
func (c *Cluster) StartIstiod(ctx context.Context) (*Server, error) {
	s, err := c.startIstiod(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting istiod: %w", err)
	}
	return s, nil
}

func (c *Cluster) startIstiod(ctx context.Context) (*Server, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Istiod)
	if err != nil {
		return nil, err
	}
	if err := c.ApplyIstio(ctx); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}`); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	part, err := c.startFoundation(ctx, paths[0], "istiod", []string{
		"discovery", "--kubeconfig=" + c.KubeconfigPath(),
		"--grpcAddr=" + istiodXDS, "--httpAddr=" + istiodAdmin, "--secureGRPCAddr=", "--httpsAddr=", "--monitoringAddr=",
	},
		"POD_NAMESPACE=istio-system", "POD_NAME=istiod", "CLUSTER_ID=Kubernetes",
		"XDS_AUTH=false", "ENABLE_CA_SERVER=false", "PILOT_CERT_PROVIDER=none",
		"INJECTION_WEBHOOK_CONFIG_NAME=", "VALIDATION_WEBHOOK_CONFIG_NAME=",
	)
	if err != nil {
		return nil, err
	}
	s := &Server{Inside: istiodXDS, part: part}
	transport := &http.Transport{DialContext: c.Dial}
	defer transport.CloseIdleConnections()
	err = part.await(ctx, "istiod to be ready", func(ctx context.Context) error {
		return httpOK(ctx, &http.Client{Transport: transport}, "http://"+istiodAdmin+"/ready")
	})
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// XDSClient is a process that makes gRPC calls as istiod tells it to.
type XDSClient struct {
	mu      sync.Mutex
	process *Command
	in      io.WriteCloser
	out     *json.Decoder
}

// XDSQuestion asks for calls.
type XDSQuestion struct {
	// Target, such as xds:///app.shop.svc.cluster.local:90.
	Target string `json:"target"`
	// N calls; 0 means until the next question.
	N      int               `json:"n"`
	Header map[string]string `json:"header,omitempty"`
}

// XDSReply is what became of the calls.
type XDSReply struct {
	By     map[string]int `json:"by"` // answers by version
	Calls  int            `json:"calls"`
	Failed int            `json:"failed"`
	First  string         `json:"first"` // of the failures
	// Raced calls were made again: grpc-go refuses calls for some microseconds
	// while it takes over a new cluster, before it sends them anywhere.
	Raced int     `json:"raced"`
	Took  float64 `json:"took"` // seconds
}

// StartXDSClient starts such a process beside istiod; it ends with the cluster.
func (c *Cluster) StartXDSClient(ctx context.Context) (*XDSClient, error) {
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.XDSClient)
	if err != nil {
		return nil, err
	}
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	cmd := c.Command(context.WithoutCancel(ctx), paths[0], "--server="+istiodXDS)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, c.opts.Log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the xDS client: %w", err)
	}
	go func() { _ = outWrite.CloseWithError(orElse(cmd.Wait(), "the xDS client has ended")) }()
	return &XDSClient{process: cmd, in: inWrite, out: json.NewDecoder(outRead)}, nil
}

// Ask makes N calls and returns what became of them.
func (x *XDSClient) Ask(q XDSQuestion) (XDSReply, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := json.NewEncoder(x.in).Encode(q); err != nil {
		return XDSReply{}, err
	}
	var r XDSReply
	err := x.out.Decode(&r)
	return r, err
}

// Begin makes calls until the returned function is called, which says what
// became of them. Nothing else can be asked meanwhile.
func (x *XDSClient) Begin(q XDSQuestion) (end func() (XDSReply, error), err error) {
	x.mu.Lock()
	q.N = 0
	if err := json.NewEncoder(x.in).Encode(q); err != nil {
		x.mu.Unlock()
		return nil, err
	}
	return func() (XDSReply, error) {
		defer x.mu.Unlock()
		var r XDSReply
		if err := json.NewEncoder(x.in).Encode(q); err != nil { // What it says does not matter: it ends the calls.
			return r, err
		}
		err := x.out.Decode(&r)
		return r, err
	}, nil
}
