// Command traefik is the Sluice plugin that splits traffic by the weights of a TraefikService.
package main

import "github.com/sluice-rollouts/sluice/sdk/plugin"

func main() { plugin.Serve(info(), service()) }
