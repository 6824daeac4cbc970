package rollout

import (
	"strings"
	"time"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// verifyAgain is how long a router that cannot be observed and whose data plane
// does not follow yet is left alone.
const verifyAgain = 10 * time.Second

// Remember is the observation of a router that cannot observe: what it last
// acknowledged, what it was last asked for, and what it was asked for in between
// without an answer, all from status, each as a place. Whatever compares with it,
// or takes the most of it, then counts all. The fingerprint is left to the
// caller.
func Remember(ro *v1alpha1.Rollout, block Block) Observation {
	o := Observation{Convergence: ConvergenceUnknown}
	entry := remembered(ro, block)
	var asked, acknowledged *v1alpha1.TrafficWeights
	var askedRoutes, routes, unansweredRoutes []string
	var unanswered []v1alpha1.TrafficWeights
	switch {
	case entry != nil:
		asked, askedRoutes = entry.Intended, entry.IntendedRoutes
		acknowledged, routes = entry.Acknowledged, entry.AcknowledgedRoutes
	case !block.Releasing && len(ro.Status.Canary.Routers) == 0 && ro.Status.Canary.Weights != nil && ro.Status.Canary.Weights.Stable.ServiceName != "":
		// Another controller's, before a migration: it keeps no list of routers.
		// With one, these are the weights of others, and this router was just
		// added. Weights without Services were those of subsets, which only a router
		// that observes splits between.
		acknowledged = ro.Status.Canary.Weights
	}
	if entry != nil {
		unanswered, unansweredRoutes = entry.Unacknowledged, entry.UnacknowledgedRoutes
	}
	total := (&Snapshot{Rollout: ro}).TotalWeight()
	// What was not acknowledged by this config may not be in place: asking again
	// is the only way to know. A router that is leaving has something left until
	// it says that it has left.
	unsure := acknowledged == nil || block.Releasing || entry != nil && !SameConfig(entry.Config, block.Config)
	for _, at := range []struct {
		place   string
		weights *v1alpha1.TrafficWeights
		routes  []string
	}{{"acknowledged", acknowledged, routes}, {"intended", asked, askedRoutes}} {
		if at.weights != nil {
			o.Observed = append(o.Observed, Observed{Place: at.place, Traffic: trafficOf(ro, *at.weights, at.routes, total), Residue: unsure})
		}
	}
	for _, weights := range unanswered {
		o.Observed = append(o.Observed, Observed{Place: "unacknowledged", Traffic: trafficOf(ro, weights, unansweredRoutes, total), Residue: unsure})
	}
	if acknowledged != nil && acknowledged.Verified != nil {
		o.Convergence = ConvergenceDone
		if !*acknowledged.Verified {
			o.Convergence, o.Recheck = ConvergencePending, verifyAgain
			o.Message = "the router does not confirm the weights yet"
		}
	}
	return o
}

func remembered(ro *v1alpha1.Rollout, block Block) *v1alpha1.RouterStatus {
	for i := range ro.Status.Canary.Routers {
		e := &ro.Status.Canary.Routers[i]
		if e.Plugin != block.Plugin {
			continue
		}
		if block.Releasing && SameConfig(e.Config, block.Config) || !block.Releasing && e.Phase != v1alpha1.RouterReleasing {
			return e
		}
	}
	return nil
}

// trafficOf is what status says in the roles that the names have now, like those of
// a router that observes: they may have changed places since.
func trafficOf(ro *v1alpha1.Rollout, w v1alpha1.TrafficWeights, routes []string, total int32) Traffic {
	t := Traffic{TotalWeight: total, Destinations: []Destination{
		{Role: RoleStable, Service: w.Stable.ServiceName, Weight: w.Stable.Weight},
		{Role: RoleCanary, Service: w.Canary.ServiceName, Weight: w.Canary.Weight},
	}}
	if stable, canary := Services(ro); stable != canary && w.Stable.ServiceName == canary && w.Canary.ServiceName == stable {
		t.Destinations[0].Role, t.Destinations[1].Role = RoleCanary, RoleStable
	}
	for _, d := range w.Additional {
		t.Destinations = append(t.Destinations, Destination{Role: RoleExperiment, Service: d.ServiceName, Weight: d.Weight})
	}
	for _, content := range routes {
		name := content[:max(0, strings.LastIndex(content, "#"))]
		t.Managed = append(t.Managed, ManagedRoute{Name: name, Digest: content})
	}
	return t
}

// Contents are the digests of managed routes, as status keeps them; nil for
// none.
func Contents(routes []ManagedRoute) []string {
	var out []string
	for _, m := range routes {
		out = append(out, m.Content())
	}
	return out
}
