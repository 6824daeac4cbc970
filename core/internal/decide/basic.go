package decide

// A canary without traffic routing is refused by valid(): what follows keeps
// its pods and Services as they are, as for any other invalid spec.

func (p *planner) targetsBasic() { p.targetsRouted() }

func (p *planner) servicesBasic() { p.servicesRouted() }

func (p *planner) scaleBasic() { p.scaleRouted() }

func (p *planner) drainBasic() {
	p.drainAborted()
	p.drainOthers()
}
