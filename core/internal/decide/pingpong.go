package decide

import (
	"cmp"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/core/internal/rollout"
)

// roles gives the two Services of ping-pong the roles they have now; everything
// after works with a stable and a canary name.
func (p *planner) roles() {
	if p.canary.PingPong == nil {
		return
	}
	c := *p.canary
	c.StableService, c.CanaryService = rollout.Services(p.ro)
	p.canary = &c
}

// nextPingPong is which Service is the stable one after a promotion: the one
// that leads to the new revision by then. So the roles change and no selector
// moves under traffic. A first deployment, which has pointed nothing yet, begins
// with ping.
func (p *planner) nextPingPong() v1alpha1.PingPongType {
	if p.canary.PingPong == nil {
		return ""
	}
	now := cmp.Or(p.ro.Status.Canary.StablePingPong, v1alpha1.PingPongPing)
	stable, canary := p.s.ServiceHash(p.canary.StableService), p.s.ServiceHash(p.canary.CanaryService)
	switch {
	case canary != p.hash || stable == p.hash:
		return now
	case now == v1alpha1.PingPongPing:
		return v1alpha1.PingPongPong
	}
	return v1alpha1.PingPongPing
}

func (p *planner) validPingPong(at string) {
	switch pp := p.canary.PingPong; {
	case pp.PingService == "":
		p.invalid(at+".pingService", "is required; name one of the two Services that take turns")
	case pp.PongService == "":
		p.invalid(at+".pongService", "is required; name the other of the two Services that take turns")
	case pp.PingService == pp.PongService:
		p.invalid(at+".pongService", "is %q, the same as pingService; use two Services", pp.PongService)
	}
}
