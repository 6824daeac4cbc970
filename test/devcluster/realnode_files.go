package devcluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// containerdConfig keeps everything below one folder. Scores for the killer of
// processes are left alone, since lowering them needs a capability that root in a
// container does not have.
const containerdConfig = `version = 3
root = "DIR/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "SOCKET"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "SNAPSHOTTER"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "PAUSE"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["PLUGINS"]
  conf_dir = "DIR/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "SHIM"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "RUNC"
  SystemdCgroup = false
`

// cniConfig gives every pod a cable of its own to the cluster's network.
const cniConfig = `{
  "cniVersion": "0.4.0", "name": "pods",
  "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "DIR/addresses"
  }}]
}`

// kubeletConfig: nothing is evicted or deleted for want of space, and nothing is
// asked of the machine beyond the group that is made for it.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: "unix://SOCKET"
cgroupDriver: cgroupfs
cgroupRoot: /GROUPS
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
podLogsDir: DIR/pod-logs
volumePluginDir: DIR/volume-plugins
resolvConf: DIR/resolv.conf
healthzPort: 0
readOnlyPort: 0
enableServer: false
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%", imagefs.inodesFree: "0%"}
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`

// configure writes the files of containerd and the kubelet.
func (n *RealNode) configure() error {
	for _, dir := range []string{"cni", "volume-plugins", "pod-logs"} {
		if err := os.MkdirAll(n.path(dir), 0o755); err != nil {
			return err
		}
	}
	kubelet, err := n.cluster.ConfigFor("system:node:"+n.Name, "system:nodes")
	if err != nil {
		return err
	}
	if err := writeKubeconfig(kubelet, n.path("kubeconfig")); err != nil {
		return err
	}
	fill := strings.NewReplacer("DIR", n.dir, "SOCKET", n.socket(), "SNAPSHOTTER", n.tools.snapshotter, "PAUSE", PauseImage,
		"PLUGINS", n.tools.plugins, "RUNC", n.tools.runc, "SHIM", n.tools.shim, "CIDR", realPodCIDR, "GROUPS", n.cluster.groups())
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig, "cni/10-pods.conflist": cniConfig, "kubelet.yaml": kubeletConfig, "resolv.conf": "",
	} {
		if err := os.WriteFile(n.path(name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Provide gives the node an image of that name, with a tag other than latest so that
// no pod asks a registry for it. Its program is PauseImage's, with these arguments
// where a pod has none.
func (n *RealNode) Provide(ctx context.Context, name string, args ...string) error {
	archive := n.path("image.tar")
	if err := writeImage(archive, name, n.tools.pause, args); err != nil {
		return err
	}
	_, err := n.ctr(ctx, "images", "import", archive)
	return err
}

// writeImage writes an image of one static program as "docker save" does.
func writeImage(archive, name, program string, args []string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entry := "/" + filepath.Base(program)
	layer, err := packed(tarFile{entry[1:], 0o555, binary})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": runtime.GOOS, "config": map[string]any{"Entrypoint": []string{entry}, "Cmd": args},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	image, err := packed(tarFile{"layer.tar", 0o444, layer}, tarFile{"config.json", 0o444, config}, tarFile{"manifest.json", 0o444, manifest})
	if err != nil {
		return err
	}
	return os.WriteFile(archive, image, 0o600)
}

type tarFile struct {
	name    string
	mode    int64
	content []byte
}

func packed(files ...tarFile) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
