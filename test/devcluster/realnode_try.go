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

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// tryPatience is how long the container that is tried first may take.
const tryPatience = 3 * time.Minute

// tryBundle is a container with what the pods of the controller have: no root, no
// new privileges, a root that is not written, limits and a filter of system calls.
const tryBundle = `{
  "ociVersion": "1.0.2",
  "process": {"user": {"uid": 65532, "gid": 65532}, "args": ["/pause", "end"], "cwd": "/", "env": ["PATH=/"], "noNewPrivileges": true},
  "root": {"path": "rootfs", "readonly": true},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
  "linux": {
    "cgroupsPath": "/%s/try",
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
    "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 64}},
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}
  }
}`

// tryNode finds out whether a node can run, by running what it would be made of:
// the same namespaces, mounts and control groups, and one container of runc. It
// returns those of the node's programs that this takes.
func (c *Cluster) tryNode(ctx context.Context) (*nodeTools, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root, this is user %d", ErrNoNode, os.Geteuid())
	}
	for _, file := range []string{"/dev/kmsg", "/usr/bin/unshare", "/sys/fs/cgroup"} {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoNode, err)
		}
	}
	kmsg, err := os.Open("/dev/kmsg") // the kubelet reads there of processes killed for memory
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNode, err)
	}
	_ = kmsg.Close()
	debian, err := foreign.DebianRunc(ctx, c.opts.Log)
	if errors.Is(err, foreign.ErrNoRunc) {
		return nil, fmt.Errorf("%w: %w", ErrNoNode, err)
	}
	if err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.Node, foreign.Pause)
	if err != nil {
		return nil, err
	}
	t := &nodeTools{node: paths[0], pause: paths[1], runc: filepath.Join(debian, "usr/sbin/runc"), plugins: filepath.Join(debian, "usr/lib/cni")}
	for _, one := range []struct {
		path      *string
		installed string
	}{{&t.runc, "/usr/sbin/runc"}, {&t.plugins, "/usr/lib/cni"}} {
		if _, err := os.Stat(*one.path); os.IsNotExist(err) {
			*one.path = one.installed
		}
	}
	if err := c.tryContainer(ctx, t); err != nil {
		return nil, fmt.Errorf("%w: trying a container: %w", ErrNoNode, err)
	}
	t.snapshotter = "overlayfs"
	if err := c.tryOverlay(ctx); err != nil {
		_, _ = fmt.Fprintf(c.opts.Log, "the node copies its images, for want of overlays: %v\n", err)
		t.snapshotter = "native"
	}
	return t, nil
}

func (c *Cluster) tryContainer(ctx context.Context, t *nodeTools) error {
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	dir := c.path("try")
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	pause, err := os.ReadFile(t.pause)
	if err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(root, "pause"), pause, 0o755),
		os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, tryBundle, c.groups()), 0o600),
	)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	run := c.Command(ctx, "/usr/bin/unshare", append(apart, t.node, "-cgroup="+c.groups(), "-keep="+t.visible(c.dir),
		"-first="+strings.Join([]string{t.runc, "--root", filepath.Join(dir, "state"), "run", "--bundle", dir, "try"}, " "))...)
	run.Stdout, run.Stderr = &out, &out
	if err := run.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// tryOverlay mounts an overlay in a mount namespace of its own.
func (c *Cluster) tryOverlay(ctx context.Context) error {
	dir := c.path("overlay")
	for _, name := range []string{"lower", "upper", "work", "all"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "/usr/bin/unshare", "--mount", "mount", "-t", "overlay", "overlay",
		"-o", fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir), filepath.Join(dir, "all")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// visible lists what the node must see of this machine, colon-separated.
func (t *nodeTools) visible(dir string) string {
	list := []string{dir, t.node, t.runc, t.plugins}
	for _, path := range []string{t.containerd, t.shim, t.kubelet} {
		if path != "" {
			list = append(list, path)
		}
	}
	return strings.Join(list, string(filepath.ListSeparator))
}
