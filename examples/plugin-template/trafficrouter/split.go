package main

import (
	"slices"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const (
	group = "mesh.example.com"
	kind  = "Split"
)

// object is what the router reads of a Split. Fields that are not here survive all the same: edits go to the object as it
// was shown.
type object struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Backends []backend `json:"backends"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64 `json:"observedGeneration"`
	} `json:"status"`
}

type backend struct {
	Service string `json:"service"`
	Weight  int32  `json:"weight"`
}

// split is a Split and where the two Services of the rollout are in it.
type split struct {
	*objects.Typed[object]

	stable, canary int
}

// read finds the Services among the backends. Other backends are refused: their share would make the weights mean
// something else than the user wrote.
func read(found *objects.Typed[object], target plugin.Target) (*split, error) {
	backends := found.View.Spec.Backends
	at := func(service string) int {
		return slices.IndexFunc(backends, func(b backend) bool { return b.Service == service })
	}
	s := &split{Typed: found, stable: at(target.StableService), canary: at(target.CanaryService)}
	if s.stable < 0 || s.canary < 0 || len(backends) != 2 {
		return nil, plugin.InvalidConfig("split", "%v needs the backends %s and %s, and no others",
			found.Ref, target.StableService, target.CanaryService)
	}

	return s, nil
}

func (s *split) weight(i int) int32 { return s.View.Spec.Backends[i].Weight }

// convergence is done when the mesh has taken over the Split as it is now.
func (s *split) convergence() trafficrouter.Convergence {
	if s.View.Status.ObservedGeneration == s.View.Metadata.Generation {
		return trafficrouter.Done
	}

	return trafficrouter.Pending
}
