package newcomer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// place is where the tests happen: a control plane that writes down who asks it for
// what, and the built programs.
type place struct {
	root, work string
	cluster    *devcluster.Cluster
	// env is for kubectl: an administrator of the cluster.
	env []string
}

// here is the place of all tests; nil when they are not asked for.
var here *place

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	if os.Getenv("SLUICE_E2E") != "" {
		var err error
		here, err = prepare(context.Background())
		defer func() {
			if err := here.close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func open(t *testing.T) *place {
	t.Helper()
	if here == nil {
		t.Skip("takes a minute: make e2e runs it")
	}
	return here
}

// auditPolicy keeps what controllers ask for, whatever their namespace.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:sluice:sluice-controller", "system:serviceaccount:argo-rollouts:sluice-controller"]
  - level: None
`

// prepare builds the programs and starts the cluster; what it has made is returned
// even with an error.
func prepare(ctx context.Context) (*place, error) {
	p := &place{}
	var err error
	if p.root, err = foreign.Root(); err != nil {
		return p, err
	}
	if p.work, err = os.MkdirTemp("", "newcomer-"); err != nil {
		return p, err
	}
	if err := os.WriteFile(p.path("audit-policy"), []byte(auditPolicy), 0o600); err != nil {
		return p, err
	}
	kubectl, err := foreign.Build(ctx, os.Stderr, foreign.Kubectl)
	if err != nil {
		return p, err
	}
	var all errgroup.Group
	all.Go(func() error { return p.build(ctx) })
	all.Go(func() (err error) {
		p.cluster, err = devcluster.Start(ctx, devcluster.Options{APIServerFlags: []string{"--audit-policy-file=" + p.path("audit-policy"), "--audit-log-path=" + p.path("audit")}})
		return err
	})
	if err := all.Wait(); err != nil {
		return p, err
	}
	p.env = append(os.Environ(), "WORK="+p.work, "KUBECONFIG="+p.cluster.KubeconfigPath(),
		fmt.Sprintf("PATH=%s:%s", filepath.Dir(kubectl[0]), os.Getenv("PATH")))
	return p, nil
}

func (p *place) path(name string) string { return filepath.Join(p.work, name) }

func (p *place) build(ctx context.Context) error {
	for _, one := range [][2]string{{"./cmd/controller", "controller"}, {"./plugins/job", "plugins/job"}, {"./plugins/gatewayapi", "plugins/gatewayapi"}} {
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", p.path(one[1]), one[0])
		build.Dir, build.Env = p.root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", one[0], err, out)
		}
	}
	return nil
}

func (p *place) close() error {
	var err error
	if p.cluster != nil {
		err = p.cluster.Stop()
	}
	if p.work != "" {
		err = errors.Join(err, os.RemoveAll(p.work))
	}
	return err
}

// shell runs commands as an administrator would type them, in the repository, and
// returns what they print.
func (p *place) shell(t *testing.T, commands string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = p.root, p.env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", commands, out)
	return string(out)
}
