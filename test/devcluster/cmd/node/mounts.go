package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// private are folders in which containerd, the kubelet and CNI plugins write
// whatever they are configured to.
var private = []string{"/run", "/var/lib", "/var/log"}

// tunables are kernel parameters of the whole machine that the kubelet sets when
// they differ. It sees files that do not differ instead: a test changes no machine.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// furnish makes the mounts of the node.
func furnish(keep []string) error {
	for _, dir := range private {
		for _, file := range keep {
			real, err := filepath.EvalSymlinks(file)
			if err != nil {
				return err
			}
			if strings.HasPrefix(real+"/", dir+"/") {
				return fmt.Errorf("%s is below %s, which the node has a version of its own of; choose another place with TMPDIR or SLUICE_CACHE", file, dir)
			}
		}
		if err := unix.Mount("node", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	for name, value := range tunables {
		stand := filepath.Join("/run", strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(stand, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(stand, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting over /proc/sys/%s: %w", name, err)
		}
	}
	return nil
}

const groups = "/sys/fs/cgroup"

// makeGroups makes the control group in which the kubelet makes those of pods.
func makeGroups(name string) error {
	if name == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err == nil {
		return makeUnified(name)
	}
	hierarchies, err := filepath.Glob(filepath.Join(groups, "*", "cgroup.procs"))
	if err != nil {
		return err
	}
	if len(hierarchies) == 0 {
		return fmt.Errorf("no control groups are mounted in %s", groups)
	}
	for _, procs := range hierarchies {
		parent := filepath.Dir(procs)
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) { // cpu is cpuacct
			return err
		}
		// Empty in a new group, which then takes no process.
		for _, inherited := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, inherited))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, inherited), value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeUnified is makeGroups where there is one hierarchy. What the root gives the
// groups below it belongs to the machine and is not changed.
func makeUnified(name string) error {
	text, err := os.ReadFile(filepath.Join(groups, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	given := strings.Fields(string(text))
	dir := filepath.Join(groups, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	for _, controller := range []string{"cpuset", "cpu", "memory", "pids"} {
		if !slices.Contains(given, controller) {
			return fmt.Errorf("groups below %s do not have the controller %s; enable it with: echo +%[2]s >%[1]s/cgroup.subtree_control", groups, controller)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("giving the groups below %s the controller %s: %w", dir, controller, err)
		}
	}
	return nil
}
