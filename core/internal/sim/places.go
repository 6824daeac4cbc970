package sim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// BlockOf is the configuration of a router plugin that writes these places of
// one Route.
func BlockOf(route string, places ...string) json.RawMessage {
	raw, _ := json.Marshal(routeConfig{route, places}) // strings always encode
	return raw
}

// steers reports whether a router's configuration names the place.
func steers(config json.RawMessage, place Place) bool {
	var c routeConfig
	_ = json.Unmarshal(config, &c) // nonsense names no place, and so all
	return len(c.Places) == 0 || slices.Contains(c.Places, place.Name)
}

// steered are those of a Route's places that a configuration names.
func steered(config json.RawMessage, in []Place) []Place {
	return slices.DeleteFunc(clonePlaces(in), func(p Place) bool { return !steers(config, p) })
}

func claimOf(route *Route, place Place) rollout.Claim {
	return rollout.Claim{Object: fmt.Sprintf("Route/%s/%s", route.Namespace, route.Name), Key: place.Name}
}

// kept is what the rollout goes on steering while the router is released.
func kept(ro *v1alpha1.Rollout, r rollout.Router) []rollout.Claim {
	for _, block := range rollout.Blocks(ro) {
		if block.Releasing && r.Releasing && block.Plugin == r.Plugin && rollout.SameConfig(block.Config, r.Config) {
			return block.Kept
		}
	}
	return nil
}
