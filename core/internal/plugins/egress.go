package plugins

import (
	"fmt"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/egress"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// Keys of the ConfigMap with the addresses that users may aim plugins at, and
// those they may not; see package sdk/egress for the form.
const (
	keyEgressAllow  = "egress.allow"
	keyEgressRefuse = "egress.refuse"
)

// egressRules are delivered to every process with Configure. They are part of
// an entry, so that a change starts the processes anew and no connection of
// the old rules is left.
type egressRules struct{ allow, refuse []string }

func (r egressRules) proto() *lifecyclev1.Egress {
	return &lifecyclev1.Egress{Allow: r.allow, Refuse: r.refuse}
}

// obeyEgress gives the rules of the ConfigMap to every entry. An entry of the
// list that cannot be read is left out, which for an exception is the safe
// side; a refusal that cannot be read is told in the same way.
func (c *catalog) obeyEgress(data map[string]string, refuse []string) {
	rules := egressRules{
		allow:  c.readable(keyEgressAllow, egress.Split(data[keyEgressAllow])),
		refuse: append(c.readable(keyEgressRefuse, egress.Split(data[keyEgressRefuse])), refuse...),
	}
	// One process may be listed under several kinds, by one pointer.
	obeying := map[*entry]*entry{}
	obey := func(e *entry) *entry {
		if obeying[e] == nil {
			with := *e
			with.egress = rules
			obeying[e] = &with
		}
		return obeying[e]
	}
	for name, e := range c.bundled {
		c.bundled[name] = obey(e)
	}
	for _, k := range configKeys {
		for name, l := range c.listed[k.kind] {
			if l.entry != nil {
				l.entry = obey(l.entry)
				c.listed[k.kind][name] = l
			}
		}
	}
}

func (c *catalog) readable(key string, entries []string) []string {
	var good, bad []string
	for _, entry := range entries {
		if _, err := egress.Parse([]string{entry}, nil); err != nil {
			bad = append(bad, err.Error())
			continue
		}
		good = append(good, entry)
	}
	if len(bad) > 0 {
		c.complaints[key] = fmt.Sprintf("%s: %s; the other entries hold", key, strings.Join(bad, "; "))
	}
	return good
}
