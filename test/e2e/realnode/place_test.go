package realnode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// image is what the built image is called in the cluster, as a user would who has
// pushed it to a registry.
const image = "registry.example.com/sluice"

// place is a cluster whose one usable node is real, with Traefik for a gateway.
type place struct {
	root, work string
	cluster    *devcluster.Cluster
	node       *devcluster.RealNode
	gateway    *devcluster.Server
	env        []string // for kubectl: an administrator of the cluster
}

// prepare skips, and says why, where a node cannot run.
func prepare(t *testing.T) *place {
	t.Helper()
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs root and minutes: make e2e runs it")
	}
	p := &place{work: t.TempDir()}
	var err error
	p.root, err = foreign.Root()
	require.NoError(t, err)
	p.cluster, err = devcluster.StartNet(t.Context(), devcluster.Options{Nodes: 1})
	if errors.Is(err, devcluster.ErrNoNamespace) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { p.close(t) })
	p.node, err = p.cluster.StartNode(t.Context())
	if errors.Is(err, devcluster.ErrNoNode) {
		t.Skip(err)
	}
	require.NoError(t, err)
	kubectl, err := foreign.Build(t.Context(), os.Stderr, foreign.Kubectl)
	require.NoError(t, err)
	p.env = append(os.Environ(), "WORK="+p.work, "KUBECONFIG="+p.cluster.KubeconfigPath(),
		"PATH="+filepath.Dir(kubectl[0])+":"+os.Getenv("PATH"))
	p.shell(t, "kubectl cordon node-0")
	p.gateway, err = p.cluster.StartTraefik(t.Context())
	require.NoError(t, err)
	p.importImage(t)
	return p
}

// importImage builds the image as "make image" does, for this machine only, and
// gives it to the node.
func (p *place) importImage(t *testing.T) {
	t.Helper()
	p.shell(t, `GOFLAGS= go -C tools/image run . build -root "$PWD" -out "$WORK/image" -version v1 -platform linux/`+runtime.GOARCH+`
tar -C "$WORK/image" -cf "$WORK/image.tar" .`)
	require.NoError(t, p.node.Import(t.Context(), image, filepath.Join(p.work, "image.tar")))
}

// close ends the cluster; nothing of the node may be left on this machine.
func (p *place) close(t *testing.T) {
	if t.Failed() && p.node != nil {
		t.Log(p.node.PodLog("sluice", "sluice-controller"))
		t.Log(p.node.Log("second.log"))
	}
	dir := p.cluster.Dir()
	require.NoError(t, p.cluster.Stop())
	assert.NoDirExists(t, dir)
	for _, at := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} { // one hierarchy, or one for each controller
		groups, err := filepath.Glob(at + filepath.Base(dir))
		require.NoError(t, err)
		assert.Empty(t, groups)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), dir)
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range commands {
		command, _ := os.ReadFile(file) // may have ended
		assert.NotContains(t, string(bytes.ReplaceAll(command, []byte{0}, []byte(" "))), dir)
	}
}

// shell runs commands as an administrator would type them, in the repository, and
// returns what they print.
func (p *place) shell(t *testing.T, commands string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = p.root, p.env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", commands, out)
	return strings.TrimSpace(string(out))
}

// get asks an address inside of the cluster's network, with a new connection.
func (p *place) get(t *testing.T, address, path string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DialContext: p.cluster.Dial, DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(text), err
}

// answers counts what a hundred requests through the gateway were answered.
func (p *place) answers(t *testing.T) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range 100 {
		answer, err := p.get(t, p.gateway.Inside, "/")
		if err != nil {
			answer = err.Error()
		}
		counts[answer]++
	}
	return counts
}
