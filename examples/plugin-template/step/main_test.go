package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
)

func TestConformance(t *testing.T) {
	a := &approval{}
	conformance.TestPlugin(t, conformance.InProcess(a.info(), step.Service(a)), fixtures(t))
}

func TestConformanceOfTheBinary(t *testing.T) {
	conformance.TestPlugin(t, conformance.Built(t, "."), fixtures(t))
}

func fixtures(t *testing.T) conformance.Fixtures {
	t.Helper()
	loaded, closeAll, err := fixture.Load("fixture.yaml")
	t.Cleanup(closeAll)
	if err != nil {
		t.Fatal(err)
	}

	return loaded
}

// configured is the step with a service that answers each request with a status.
func configured(t *testing.T, code int, seen *[]string) *approval {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization"))
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	a := &approval{}
	if err := a.service.configure(t.Context(), []byte(`{"url":"`+server.URL+`"}`)); err != nil {
		t.Fatal(err)
	}

	return a
}

// The suite knows the contract; what is special about the service is tested here.
func TestAnOperationIsOneRequest(t *testing.T) {
	t.Setenv(tokenVariable, "t0ken")
	var seen []string
	a := configured(t, http.StatusServiceUnavailable, &seen)
	req := &step.Request{OperationID: "a/1", Config: []byte(`{"queue":"releases"}`)}
	for range 2 {
		if _, err := a.Run(t.Context(), req); status.Code(err) != codes.Unavailable {
			t.Errorf("a service that is down is retried; got %v", err)
		}
	}
	want := "PUT /queues/releases/requests/a%2F1 Bearer t0ken"
	if got := strings.Join(seen, ", "); got != want+", "+want {
		t.Errorf("asked %s, want twice %s", got, want)
	}
}

func TestWhatNobodyKnowsIsWithdrawn(t *testing.T) {
	var seen []string
	a := configured(t, http.StatusNotFound, &seen)
	req := &step.Request{OperationID: "never", Config: []byte(`{"queue":"releases"}`)}
	if progress, err := a.Abort(t.Context(), req); err != nil || progress.Phase != step.Successful {
		t.Errorf("got %v, %v", progress, err)
	}
	if _, err := a.Run(t.Context(), req); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a queue that is not there waits for somebody; got %v", err)
	}
}

func TestSettingsThatAreWrongChangeNothing(t *testing.T) {
	var seen []string
	a := configured(t, http.StatusOK, &seen)
	before := a.service.settings.Load().URL
	for raw, path := range map[string]string{`{}`: "url", `{"url":"x"}`: "url", `{"urll":"http://x"}`: "urll"} {
		if err := a.service.configure(t.Context(), []byte(raw)); plugin.Violations(err)[path] == "" {
			t.Errorf("%s: want a violation at %s, got %v", raw, path, err)
		}
	}
	if after := a.service.settings.Load().URL; after != before {
		t.Errorf("the address was %s and is %s", before, after)
	}
}
