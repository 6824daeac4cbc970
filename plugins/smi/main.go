// Command smi is the Sluice plugin that splits traffic by an SMI TrafficSplit that it makes.
package main

import "github.com/sluice-rollouts/sluice/sdk/plugin"

func main() { plugin.Serve(info(), service()) }
