// Package foreign builds the programs that a development cluster consists of and
// that are not Sluice's own: the Kubernetes control plane, Traefik, Prometheus,
// kubectl; and the cluster's supervisor, which tests start by path like them.
//
// Each foreign program has a Go module of its own under test/, so that its
// dependencies never mix with Sluice's. Finished binaries are kept in
// $SLUICE_CACHE (default ${XDG_CACHE_HOME:-~/.cache}/sluice) under a key made of
// all that could change them, so that a second build is a lookup.
package foreign

import "time"

// Program is something that Build can build.
type Program struct {
	// Name is what people call it, for progress lines and errors.
	Name string

	file     string   // name of the binary
	dir      string   // module folder, from the repository's root
	pkg      string   // package to build, as the go command takes it
	sources  []string // folders of our own Go files that go into it, from the root
	tags     string   // build tags, comma-separated
	stampOf  string   // module whose version the stamps carry
	stamps   func(v string) []string
	expected time.Duration // of a build from nothing on two cores, for the progress line
}

// The programs there are.
var (
	// ControlPlane is etcd, kube-apiserver, kube-controller-manager,
	// kube-scheduler and KWOK in one file; the first argument names the component.
	ControlPlane = &Program{
		Name: "control plane", file: "cluster", dir: "test/cluster", pkg: ".",
		sources: []string{"test/cluster"},
		stampOf: "k8s.io/kubernetes", stamps: kubernetesStamps, expected: 9 * time.Minute,
	}
	// Kubectl is kubectl of the control plane's version.
	Kubectl = &Program{
		Name: "kubectl", file: "kubectl", dir: "test/cluster", pkg: "k8s.io/kubernetes/cmd/kubectl",
		stampOf: "k8s.io/kubernetes", stamps: kubernetesStamps, expected: time.Minute,
	}
	// Traefik is the gateway.
	Traefik = &Program{
		Name: "traefik", file: "traefik", dir: "test/components/traefik",
		pkg:     "github.com/traefik/traefik/v3/cmd/traefik",
		stampOf: "github.com/traefik/traefik/v3",
		stamps: func(v string) []string {
			return []string{"github.com/traefik/traefik/v3/pkg/version.Version=" + v}
		},
		expected: 5 * time.Minute,
	}
	// Prometheus is the metrics server, with Kubernetes discovery only and
	// without its web interface.
	Prometheus = &Program{
		Name: "prometheus", file: "prometheus", dir: "test/components/prometheus",
		pkg:     "github.com/prometheus/prometheus/cmd/prometheus",
		tags:    "remove_all_sd,enable_kubernetes_sd",
		stampOf: "github.com/prometheus/prometheus",
		stamps: func(v string) []string {
			return []string{"github.com/prometheus/common/version.Version=" + v}
		},
		expected: 3 * time.Minute,
	}
	// Promtool checks Prometheus's rules.
	Promtool = &Program{
		Name: "promtool", file: "promtool", dir: "test/components/prometheus",
		pkg:  "github.com/prometheus/prometheus/cmd/promtool",
		tags: "remove_all_sd,enable_kubernetes_sd", expected: time.Minute,
	}
	// Istiod is Istio's control plane.
	Istiod = &Program{
		Name: "istiod", file: "istiod", dir: "test/components/istiod",
		pkg:  "istio.io/istio/pilot/cmd/pilot-discovery",
		tags: "vtprotobuf", expected: 8 * time.Minute,
	}
	// XDSClient makes gRPC calls that istiod routes.
	XDSClient = &Program{
		Name: "xDS client", file: "xdsclient", dir: "test/components/xdsclient", pkg: ".",
		sources: []string{"test/components/xdsclient"}, expected: time.Minute,
	}
	// IngressNginx is the controller of the community's ingress-nginx; the nginx it
	// drives is DebianNginx.
	IngressNginx = &Program{
		Name: "ingress-nginx", file: "ingress-nginx", dir: "test/components/ingressnginx",
		pkg: "k8s.io/ingress-nginx/cmd/nginx", expected: 3 * time.Minute,
	}
	// Kubelet, Containerd, its shim and its command-line client make a real node;
	// the runc and the CNI plugins they call are DebianRunc.
	Kubelet = &Program{
		Name: "kubelet", file: "kubelet", dir: "test/components/kubelet", pkg: "k8s.io/kubernetes/cmd/kubelet",
		stampOf: "k8s.io/kubernetes", stamps: kubernetesStamps, expected: 3 * time.Minute,
	}
	Containerd     = containerd("containerd", 2*time.Minute)
	ContainerdShim = containerd("containerd-shim-runc-v2", 10*time.Second)
	Ctr            = containerd("ctr", 10*time.Second)
	// Node is the first process of a real node.
	Node = &Program{
		Name: "node", file: "node", dir: ".", pkg: "./test/devcluster/cmd/node",
		sources: []string{"test/devcluster/cmd/node"}, expected: 10 * time.Second,
	}
	// Pause is what runs in the pods of a real node.
	Pause = &Program{
		Name: "pause", file: "pause", dir: ".", pkg: "./test/devcluster/cmd/pause",
		sources: []string{"test/devcluster/cmd/pause"}, expected: 10 * time.Second,
	}
	// Supervisor is the parent of a cluster's processes.
	Supervisor = &Program{
		Name: "cluster supervisor", file: "supervisor", dir: ".", pkg: "./test/devcluster/cmd/supervisor",
		sources:  []string{"test/devcluster/cmd/supervisor", "test/devcluster/internal/supervise"},
		expected: 10 * time.Second,
	}
)

// containerd is one of the commands of containerd, without what needs C or other
// file systems.
func containerd(file string, expected time.Duration) *Program {
	const module = "github.com/containerd/containerd/v2"
	return &Program{
		Name: file, file: file, dir: "test/components/containerd", pkg: module + "/cmd/" + file,
		tags: "no_btrfs,no_zfs,no_devmapper", stampOf: module,
		stamps:   func(v string) []string { return []string{module + "/version.Version=" + v} },
		expected: expected,
	}
}

// kubernetesStamps tells the components their version; without it kubectl warns
// and some clients refuse the server.
func kubernetesStamps(v string) []string {
	const at = "k8s.io/component-base/version."
	return []string{at + "gitVersion=" + v, at + "gitTreeState=clean"}
}
