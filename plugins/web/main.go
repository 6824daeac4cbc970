// Command web is the Sluice plugin that measures with one HTTP request: a value out of the JSON of its answer.
package main

import (
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func main() {
	p := newProvider()
	plugin.Serve(p.info(), p.service())
}
