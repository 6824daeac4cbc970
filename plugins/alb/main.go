// Command alb is the Sluice plugin that splits traffic by forward actions of the AWS Load Balancer Controller.
package main

import "github.com/sluice-rollouts/sluice/sdk/plugin"

func main() { plugin.Serve(info(), service()) }
