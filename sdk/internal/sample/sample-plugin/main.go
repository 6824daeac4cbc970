// Command sample-plugin serves the sample plugin to a host; argument 1 is the fault of its router.
package main

import (
	"fmt"
	"os"

	"github.com/sluice-rollouts/sluice/sdk/internal/sample"
	"github.com/sluice-rollouts/sluice/sdk/metricprovider"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	"github.com/sluice-rollouts/sluice/sdk/step"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func main() {
	router := &sample.Router{}
	if len(os.Args) > 1 && os.Args[1] == "is open to strangers" {
		if err := serveOpen(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}

		return
	}
	if len(os.Args) > 1 {
		router.Fault = sample.Fault(os.Args[1])
	}
	plugin.Serve(sample.Info(),
		trafficrouter.Service(router),
		metricprovider.Service(sample.Provider{}),
		step.Service(sample.Step{}),
	)
}
