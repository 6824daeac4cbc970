package decide

// A blue-green spec is refused by valid(): what follows keeps its pods and
// Services as they are, as for any other invalid spec.

func (p *planner) positionBlueGreen() {}

func (p *planner) targetsBlueGreen() { p.targetsRouted() }

func (p *planner) servicesBlueGreen() {}

func (p *planner) scaleBlueGreen() { p.scaleRouted() }

func (p *planner) drainBlueGreen() {
	p.drainAborted()
	p.drainOthers()
}
