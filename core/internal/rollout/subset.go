package rollout

import "slices"

// Subset reports that the destination is no Service but a subset the router
// itself points at a revision, such as one of an Istio DestinationRule. Its Hash
// is the revision it reaches, "" while it reaches every pod.
func (d Destination) Subset() bool {
	return d.Service == "" && (d.Role == RoleStable || d.Role == RoleCanary)
}

// Subsets reports that the router splits between subsets, as far as it has been
// observed.
func (r Router) Subsets() bool {
	return slices.ContainsFunc(r.Observation.Observed, func(at Observed) bool {
		return slices.ContainsFunc(at.Traffic.Destinations, Destination.Subset)
	})
}

// Subset is where the router's subset of a role points now, and the most that
// any place sends to it; a managed route of the canary counts as at least 1.
func (r Router) Subset(role Role) (hash string, most int64) {
	for _, at := range r.Observation.Observed {
		for _, d := range at.Traffic.Destinations {
			if d.Role == role && d.Subset() {
				hash = d.Hash
			}
		}
		weight := at.Traffic.Weight(role)
		if role == RoleCanary && len(at.Traffic.Managed) > 0 {
			weight = max(weight, 1)
		}
		most = max(most, weight)
	}
	return hash, most
}

// samePointing: a subset that names another revision than it should is not what
// is wanted, whatever it carries.
func samePointing(observed, want Traffic) bool {
	for _, d := range observed.Destinations {
		if !d.Subset() {
			continue
		}
		for _, w := range want.Destinations {
			if w.Role == d.Role && w.Hash != d.Hash {
				return false
			}
		}
	}
	return true
}
