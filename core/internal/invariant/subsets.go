package invariant

import (
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// reaches is the revision behind a destination now, whatever the plan believes:
// what its Service selects, or what the subset names.
func (c *checker) reaches(r rollout.Router, d rollout.Destination) string {
	if !d.Subset() {
		return c.s.ServiceHash(d.Service)
	}
	hash, _ := r.Subset(d.Role)
	if d.Role == rollout.RoleStable && rollout.Available(c.s.ByHash(hash)) == 0 && hash != "" && d.Hash != "" {
		return d.Hash // nobody is served where it points, so that it moves with its weight
	}
	return hash
}

// turns is I6 for subsets: one that carries traffic stays where it is, one that
// carries nothing is pointed at pods that exist, and no operation both points it
// elsewhere and changes what it carries.
func (c *checker) turns(o rollout.RouteTraffic) {
	for _, d := range o.Desired.Destinations {
		if !d.Subset() || !o.Router.Subsets() {
			continue
		}
		from, carries := o.Router.Subset(d.Role)
		if from == d.Hash {
			continue
		}
		to := c.s.ByHash(d.Hash)
		if rollout.Available(to) < 1 {
			c.broken("I6", o, "the %s subset is pointed at revision %q, which has no available pod", d.Role, d.Hash)
		}
		if from == "" {
			if rollout.Available(to) < rollout.SpecReplicas(to) {
				c.broken("I6", o, "the %s subset is adopted by a revision that is not fully available", d.Role)
			}
			continue
		}
		dead := d.Role == rollout.RoleStable && rollout.Available(c.s.ByHash(from)) == 0
		back := d.Role == rollout.RoleStable && d.Hash == c.s.Rollout.Status.StableRS && int64(rollout.Available(to)) >= c.want
		if dead || back {
			continue // as for a Service
		}
		if carries > 0 {
			c.broken("I6", o, "the %s subset is pointed elsewhere while it carries weight %d", d.Role, carries)
		} else if d.Weight > 0 {
			c.broken("I6", o, "the %s subset is pointed elsewhere and given weight %d at once", d.Role, d.Weight)
		}
	}
}

// named reports that a subset names the revision.
func (c *checker) named(hash string) bool {
	for _, r := range c.s.Routers {
		for _, role := range []rollout.Role{rollout.RoleStable, rollout.RoleCanary} {
			if at, _ := r.Subset(role); hash != "" && r.Subsets() && at == hash {
				return true
			}
		}
	}
	return false
}
