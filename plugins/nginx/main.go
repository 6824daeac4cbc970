// Command nginx is the Sluice plugin for the two ingress controllers called nginx: the community's ingress-nginx, whose canary
// Ingresses it makes, and F5's NGINX Ingress Controller, whose VirtualServers it weighs.
package main

import "github.com/sluice-rollouts/sluice/sdk/plugin"

func main() { plugin.Serve(info(), service()) }
