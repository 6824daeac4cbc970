// Command sample-plugin serves the sample plugin to a host; argument 1 is the fault of its router.
package main

import (
	"os"

	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func main() {
	router := &sample.Router{}
	if len(os.Args) > 1 {
		router.Fault = sample.Fault(os.Args[1])
	}
	plugin.Serve(sample.Info(),
		trafficrouter.Service(router),
		metricprovider.Service(sample.Provider{}),
		step.Service(sample.Step{}),
	)
}
