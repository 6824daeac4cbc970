package broker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// shared is the API server of all tests in this package, started by the first
// one that needs it.
var shared struct {
	sync.Once
	cluster *devcluster.Cluster
	err     error
}

func apiServer(t *testing.T) *devcluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an API server")
	}
	shared.Do(func() {
		shared.cluster, shared.err = devcluster.Start(context.Background(), devcluster.Options{APIServerOnly: true})
	})
	require.NoError(t, shared.err)
	return shared.cluster
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// patience bounds what a test waits for; it passes as soon as it is there.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond, what)
}

// all is a grant for the kind with every verb.
func all(group, kind string) rollout.Grant {
	return rollout.Grant{Rules: []rollout.GrantRule{{
		Group: group, Kind: kind, Verbs: []string{"get", "list", "watch", "create", "update", "delete"},
	}}}
}

func caller(namespace string) rollout.Caller {
	return rollout.Caller{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Namespace: namespace, Name: "shop", UID: "uid-shop"}
}

func named(group, kind, version, namespace, name string) rollout.Need {
	return rollout.Need{Group: group, Kind: kind, Versions: []string{version}, Namespace: namespace, Name: name}
}

func selecting(need rollout.Need, labels map[string]string) rollout.Need {
	need.Name, need.Selector = "", &metav1.LabelSelector{MatchLabels: labels}
	return need
}
