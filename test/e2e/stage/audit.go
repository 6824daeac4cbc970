package stage

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Finding says where a text was found.
type Finding struct{ Where, What string }

// Search looks for texts in everything that is stored, written or shown: every
// object of the API server but Secrets, events among them, the log of the
// controller and of its plugins, its metrics, and the arguments and
// environments of its processes. Looked says how much of each there was, so
// that a search of nothing is seen.
func (c *Controller) Search(t testing.TB, texts ...string) (found []Finding, looked map[string]int) {
	t.Helper()
	looked = map[string]int{}
	look := func(kind, where string, data []byte) {
		looked[kind]++
		for _, text := range texts {
			if strings.Contains(string(data), text) {
				found = append(found, Finding{where, text})
			}
		}
	}
	c.stage.everyObject(t, func(where string, raw []byte) { look("objects", where, raw) })
	log, err := os.ReadFile(c.logPath)
	require.NoError(t, err)
	look("logs", "log of the controller", log)
	look("metrics", "metrics of the controller", c.exposed(t))
	pids := running(filepath.Join(c.stage.bin, "controller"))
	for _, plugin := range bundled {
		pids = append(pids, c.PluginPIDs(plugin)...)
	}
	for _, pid := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err == nil { // it may have ended meanwhile
				look("processes", fmt.Sprintf("%s of process %d", file, pid), data)
			}
		}
	}
	return found, looked
}

func (c *Controller) exposed(t testing.TB) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+c.metrics+"/metrics", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return body
}

// everyObject visits all objects of all kinds but Secrets, as JSON.
func (s *Stage) everyObject(t testing.TB, visit func(where string, raw []byte)) {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(s.Cluster.Config())
	require.NoError(t, err)
	lists, err := client.ServerPreferredResources()
	require.NoError(t, err)
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "secrets" && version.Group == "" {
				continue
			}
			objects, err := s.dynamic.Resource(version.WithResource(r.Name)).List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
			require.NoError(t, err, "%s/%s", list.GroupVersion, r.Name)
			for i := range objects.Items {
				raw, err := objects.Items[i].MarshalJSON()
				require.NoError(t, err)
				visit(fmt.Sprintf("%s %s/%s", r.Kind, objects.Items[i].GetNamespace(), objects.Items[i].GetName()), raw)
			}
		}
	}
}
