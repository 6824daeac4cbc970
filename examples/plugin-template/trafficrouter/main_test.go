package main

import (
	"testing"

	"github.com/sluice-rollouts/sluice/sdk/conformance"
	"github.com/sluice-rollouts/sluice/sdk/conformance/fixture"
	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func TestConformance(t *testing.T) {
	conformance.TestPlugin(t, conformance.InProcess(info(), trafficrouter.Service(router{})), fixtures(t))
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

// The suite knows the contract; what is special about Splits is tested here.
func TestASplitThatDoesNotFitIsRefused(t *testing.T) {
	target := plugin.Target{Namespace: "shop", StableService: "web-stable", CanaryService: "web-canary"}
	for name, backends := range map[string]string{
		"no canary":       `[{"service":"web-stable","weight":100}]`,
		"a third backend": `[{"service":"web-stable"},{"service":"web-canary"},{"service":"old","weight":50}]`,
		"no backends":     `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(parse(t, backends), target)
			if violations := plugin.Violations(err); violations["split"] == "" {
				t.Errorf("want a violation at split, got %v", err)
			}
		})
	}
	s, err := read(parse(t, `[{"service":"web-canary","weight":25},{"service":"web-stable","weight":75}]`), target)
	if err != nil {
		t.Fatal(err)
	}
	if s.canary != 0 || s.stable != 1 {
		t.Errorf("in another order, canary is found at %d and stable at %d", s.canary, s.stable)
	}
}

func parse(t *testing.T, backends string) *objects.Typed[object] {
	t.Helper()
	split, err := objects.ParseAs[object]([]byte(`{"apiVersion":"mesh.example.com/v1","kind":"Split",
		"metadata":{"name":"web","namespace":"shop"},"spec":{"backends":` + backends + `}}`))
	if err != nil {
		t.Fatal(err)
	}

	return split
}
