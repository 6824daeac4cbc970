package supervise

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestParseStat(t *testing.T) {
	for line, want := range map[string][2]int{
		"42 (etcd) S 7 42 42 0":         {42, 7},
		"42 (a b) c) S 7 42":            {42, 7},
		"1 ((sd-pam)) S 0 1 1":          {1, 0},
		"9 (odd\n(name) R 3 ) R 8 9 10": {9, 8},
	} {
		pid, parent, err := parseStat([]byte(line))
		if err != nil || pid != want[0] || parent != want[1] {
			t.Errorf("%q: %d, %d, %v; want %v", line, pid, parent, err, want)
		}
	}
	for _, line := range []string{"", "42", "42 (x)", "x (y) S 1", ") 1 ("} {
		if pid, parent, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%q: %d, %d, want an error", line, pid, parent)
		}
	}
}

func TestChildren(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	pids, err := children(os.Getpid())
	if err != nil || !slices.Contains(pids, child.Process.Pid) {
		t.Errorf("children are %v (%v), want %d among them", pids, err, child.Process.Pid)
	}
}
