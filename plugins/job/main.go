// Command job is the Sluice plugin that measures by running a Kubernetes Job: the Job judges, by succeeding or failing.
package main

import (
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

func main() { plugin.Serve(info(), service()) }
