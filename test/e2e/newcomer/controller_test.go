package newcomer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// controller is the process that stands for an installed Deployment's pod: its
// arguments, and the token of its account.
type controller struct {
	place     *place
	namespace string
	log       string
	process   *devcluster.Command
	// asked is how much was in the audit log before.
	asked int64
}

// start starts the controller that is installed in the namespace.
func (p *place) start(t *testing.T, namespace string) *controller {
	t.Helper()
	account, token := p.path("account-"+namespace), strings.TrimSpace(p.shell(t, "kubectl create token sluice-controller --duration=1h -n "+namespace))
	p.shell(t, fmt.Sprintf(`sed 's/^ *client-.*//' "$KUBECONFIG" >%[1]s; kubectl --kubeconfig=%[1]s config set-credentials sluice-devcluster --token=%[2]s >/dev/null`, account, token))
	var args []string
	require.NoError(t, json.Unmarshal([]byte(p.shell(t, "kubectl get deployment sluice-controller -o jsonpath='{.spec.template.spec.containers[0].args}' -n "+namespace)), &args))
	for i := range args {
		args[i] = strings.NewReplacer("=/plugins", "="+p.path("plugins"), "=/tmp", "="+p.work).Replace(args[i])
	}
	c := &controller{place: p, namespace: namespace, log: p.path("log-" + namespace)}
	if audit, err := os.Stat(p.path("audit")); err == nil {
		c.asked = audit.Size()
	}
	log, err := os.Create(c.log)
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	c.process = p.cluster.Command(t.Context(), p.path("controller"), append(args, "--kubeconfig="+account, "--metricsPort=0", "--healthzPort=0")...)
	c.process.Env = []string{"POD_NAMESPACE=" + namespace, "PATH=" + os.Getenv("PATH")}
	c.process.Stdout, c.process.Stderr = log, log
	require.NoError(t, c.process.Start())
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(c.log)
			lines := strings.Split(string(text), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return c
}

var fault = regexp.MustCompile(`(?m)^.*(forbidden|panic|breaks an invariant).*$`)

// stop ends it in order. Neither its log nor the API server may tell of anything it
// was not allowed to do.
func (c *controller) stop(t *testing.T) {
	t.Helper()
	_ = c.process.Signal(syscall.SIGTERM)
	select {
	case <-c.process.Done():
	case <-time.After(time.Minute):
		t.Fatal("the controller did not end within a minute of SIGTERM")
	}
	text, err := os.ReadFile(c.log)
	require.NoError(t, err)
	require.Contains(t, string(text), "rollout", "a log of something")
	assert.Empty(t, fault.FindString(string(text)))
	requests := c.requests(t)
	require.NotEmpty(t, requests)
	for _, r := range requests {
		assert.NotEqual(t, 403, r.ResponseStatus.Code, "%s of %s was refused", r.Verb, r.RequestURI)
	}
}

// request is what the API server notes of one.
type request struct {
	Verb, RequestURI string
	ObjectRef        *struct{ Resource, Namespace string }
	ResponseStatus   struct{ Code int }
}

// requests are those of its account since it was started.
func (c *controller) requests(t *testing.T) []request {
	t.Helper()
	audit, err := os.Open(c.place.path("audit"))
	require.NoError(t, err)
	defer func() { _ = audit.Close() }()
	_, err = audit.Seek(c.asked, 0)
	require.NoError(t, err)
	var out []request
	lines := bufio.NewScanner(audit)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var one struct {
			request
			User struct{ Username string }
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &one))
		if one.User.Username == "system:serviceaccount:"+c.namespace+":sluice-controller" {
			out = append(out, one.request)
		}
	}
	require.NoError(t, lines.Err())
	return out
}
