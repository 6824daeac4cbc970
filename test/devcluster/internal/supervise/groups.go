package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// groupsLimit is how long the processes of a group may take to be gone after they
// were killed.
const groupsLimit = 10 * time.Second

// removeGroups removes the control groups of a name from every hierarchy, and the
// groups below them. The files in a group are the kernel's and go with it.
func removeGroups(name string) error {
	if name == "" {
		return nil
	}
	found, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", "*", name))
	if err != nil {
		return err
	}
	var wrong []error
	for _, group := range append(found, filepath.Join("/sys/fs/cgroup", name)) {
		if err := removeGroup(group); err != nil {
			wrong = append(wrong, fmt.Errorf("removing control group %s: %w", group, err))
		}
	}
	return errors.Join(wrong...)
}

func removeGroup(group string) error {
	deadline := time.Now().Add(groupsLimit)
	for {
		err := removeEmpty(group)
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeEmpty removes a group from below.
func removeEmpty(group string) error {
	entries, err := os.ReadDir(group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeEmpty(filepath.Join(group, e.Name())); err != nil {
			return err
		}
	}
	err = syscall.Rmdir(group)
	if errors.Is(err, syscall.ENOENT) { // cpu is cpuacct
		return nil
	}
	return err
}
