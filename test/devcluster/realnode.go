package devcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// ErrNoNode is what StartNode fails with where this machine cannot run a real
// node; the message says what is missing.
var ErrNoNode = errors.New("a real node cannot run here")

// Where a real node and its pods are, beside PodCIDR, whose addresses are all
// local.
const (
	realNodeName = "real"
	realNodeIP   = "10.246.255.254"
	realPodCIDR  = "10.246.0.0/24"
	// apiServiceIP is service default/kubernetes, by which pods reach the API server.
	apiServiceIP = "10.96.0.1"
)

// PauseImage is an image that a real node has. Its program, /pause, answers HTTP
// on the address that is its argument, with $ANSWER; with the argument "end" it ends.
const PauseImage = "devcluster.sluice.dev/pause:v1"

// realNodePatience is how long a real node gets to be ready.
const realNodePatience = 5 * time.Minute

// realNodeRights let the kubelet work; the API server has no authorizer for nodes.
const realNodeRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: devcluster-real-node}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node"}
subjects: [{kind: Group, name: "system:nodes", apiGroup: rbac.authorization.k8s.io}]
`

// RealNode is a node whose pods run: a kubelet with containerd and runc. Its pods
// have addresses of their own and reach the API server by its service; of other
// services, and of DNS, there is nothing.
type RealNode struct {
	// Name of the Node.
	Name string

	cluster *Cluster
	part    *component
	tools   *nodeTools
	dir     string
}

// nodeTools are the programs of a node.
type nodeTools struct {
	node, pause, runc, plugins     string
	containerd, shim, ctr, kubelet string
	snapshotter                    string
}

// StartNode starts a real node in a cluster of StartNet and returns when it is
// ready for pods, which may be scheduled to it as well as to the simulated nodes.
// It lives as long as the cluster and leaves nothing: neither processes nor mounts
// nor control groups. It needs root and a kernel that lets runc start a container,
// which is tried first; otherwise the error is ErrNoNode. The first call ever
// builds a kubelet and containerd, which takes minutes.
func (c *Cluster) StartNode(ctx context.Context) (*RealNode, error) {
	n, err := c.startNode(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting a real node: %w", err)
	}
	return n, nil
}

func (c *Cluster) startNode(ctx context.Context) (*RealNode, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	n := &RealNode{Name: realNodeName, cluster: c, dir: c.path("node")}
	var err error
	if n.tools, err = c.tryNode(ctx); err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Containerd, foreign.ContainerdShim, foreign.Ctr, foreign.Kubelet)
	if err != nil {
		return nil, err
	}
	n.tools.containerd, n.tools.shim, n.tools.ctr, n.tools.kubelet = paths[0], paths[1], paths[2], paths[3]
	if err := n.configure(); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, realNodeRights); err != nil {
		return nil, err
	}
	if err := c.supervisor.Relay(ctx, apiServiceIP+":443", strings.TrimPrefix(c.server, "https://")); err != nil {
		return nil, err
	}
	return n, n.start(ctx)
}

func (n *RealNode) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, realNodePatience)
	defer cancel()
	var err error
	n.part, err = n.cluster.startFoundation(ctx, "/usr/bin/unshare", "node", append(apart, n.tools.node,
		"-cgroup="+n.cluster.groups(), "-logs="+n.cluster.logs, "-keep="+n.tools.visible(n.cluster.dir),
		"-socket="+n.socket(), "-first="+n.tools.containerd+" --config="+n.path("containerd.toml"),
		"-second="+strings.Join([]string{
			n.tools.kubelet, "--config=" + n.path("kubelet.yaml"), "--kubeconfig=" + n.path("kubeconfig"), "--root-dir=" + n.path("kubelet"),
			"--cert-dir=" + n.path("kubelet-certificates"), "--hostname-override=" + n.Name, "--node-ip=" + realNodeIP,
		}, " ")))
	if err != nil {
		return err
	}
	err = n.part.await(ctx, "containerd to listen", func(ctx context.Context) error {
		_, err := n.ctr(ctx, "version")
		return err
	})
	if err != nil {
		return err
	}
	if err := n.Provide(ctx, PauseImage); err != nil {
		return err
	}
	clients, err := n.cluster.clients()
	if err != nil {
		return err
	}
	err = n.part.await(ctx, "the real node to be ready", func(ctx context.Context) error {
		node, err := clients.kubernetes.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return nodeReady(node)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.Log("second.log"))
	}
	return nil
}

// apart are unshare's arguments for what the node runs in; what it mounts and
// starts ends with it.
var apart = []string{"--mount", "--pid", "--mount-proc", "--fork", "--kill-child"}

// ctr runs containerd's own command-line client.
func (n *RealNode) ctr(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, n.tools.ctr, append([]string{"--address=" + n.socket(), "--namespace=k8s.io"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", args[0], err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// Import gives the node the images in an archive of an OCI layout, so that pods of
// them need no registry. They are called by the repository and what the layout
// calls each.
func (n *RealNode) Import(ctx context.Context, repository, archive string) error {
	if _, err := n.ctr(ctx, "images", "import", "--base-name="+repository, archive); err != nil {
		return fmt.Errorf("importing images of %s: %w", repository, err)
	}
	return nil
}

// Log is the end of one of the node's logs: first.log of containerd, second.log of
// the kubelet.
func (n *RealNode) Log(file string) string {
	part := component{name: file, log: filepath.Join(n.cluster.logs, file)}
	return part.lastWords()
}

// PodLog is what the containers of pods whose names begin so have written.
func (n *RealNode) PodLog(namespace, pod string) string {
	files, _ := filepath.Glob(filepath.Join(n.path("pod-logs"), namespace+"_"+pod+"*", "*", "*.log"))
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		fmt.Fprintf(&all, "%s %v\n%s", filepath.Base(filepath.Dir(filepath.Dir(file))), err, text)
	}
	return all.String()
}

func (n *RealNode) path(name string) string { return filepath.Join(n.dir, name) }

func (n *RealNode) socket() string { return n.path("containerd.sock") }

// groups is the name of the control groups that a real node of this cluster uses.
func (c *Cluster) groups() string {
	if !c.namespaced || os.Geteuid() != 0 {
		return ""
	}
	return filepath.Base(c.dir)
}
