package devcluster_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sluice-rollouts/sluice/test/devcluster"
	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

func TestIngressNginxServesAnIngress(t *testing.T) {
	if os.Getenv("SLUICE_E2E") == "" {
		t.Skip("needs ingress-nginx, which takes minutes to build: make e2e runs this")
	}
	c := startNet(t, devcluster.Options{Nodes: 1})
	s, err := c.StartIngressNginx(t.Context())
	if errors.Is(err, foreign.ErrNoNginx) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{}).Get("http://" + s.Outside)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "nginx") {
		t.Fatalf("status %d, body %s: want nginx's own 404", response.StatusCode, body)
	}
}
