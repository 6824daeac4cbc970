// Command prometheus is the Sluice plugin that measures with Prometheus, and with everything that speaks its HTTP API.
package main

import (
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func main() {
	p := newProvider()
	plugin.Serve(p.info(), p.service())
}
