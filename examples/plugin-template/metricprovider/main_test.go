package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func TestConformance(t *testing.T) {
	p := newProvider()
	conformance.TestPlugin(t, conformance.InProcess(p.info(), metricprovider.Service(p)), fixtures(t))
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

// The suite knows the contract; what is special about the service is tested here.
func TestAnswers(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":{"b":0.5}}`:   "",
		`{"a":{"b":"0.5"}}`: "has no number at a.b",
		`{"a":[1]}`:         "has no number at a.b",
		`{"a":`:             "is not JSON",
	} {
		t.Run(body, func(t *testing.T) {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
			defer service.Close()
			value, err := ask(t.Context(), service.Client(), block{URL: service.URL, Field: "a.b"})
			var failed *failure
			switch {
			case want == "" && (err != nil || value != 0.5):
				t.Errorf("got %v, %v", value, err)
			case want != "" && (!errors.As(err, &failed) || !strings.Contains(err.Error(), want)):
				t.Errorf("want a failure that says %q, got %v", want, err)
			}
		})
	}
}

func TestBlocksThatCannotBeUsedAreRefused(t *testing.T) {
	for raw, path := range map[string]string{
		`{"url":"ftp://x","field":"a"}`: "url",
		`{"field":"a"}`:                 "url",
		`{"url":"http://x"}`:            "field",
		`{"url":"http://x","feild":""}`: "feild",
	} {
		_, err := parse([]byte(raw))
		if plugin.Violations(err)[path] == "" {
			t.Errorf("%s: want a violation at %s, got %v", raw, path, err)
		}
	}
}
