// Package egress is the HTTP client for providers whose addresses are written by template authors. Whoever may write an
// AnalysisTemplate chooses what the plugin asks; without a guard they could reach what only the controller's pod can reach:
// the cloud's metadata service, the API server, ports on loopback.
//
// A Guard resolves names itself and checks each address at the moment it is dialled, so that a name cannot point somewhere
// else after the check, and checks again with every redirect. Refused unless an administrator allows them: loopback,
// link-local, multicast, unspecified and reserved addresses, the addresses of the machine itself, the well-known metadata
// services, the API server, and every IPv6 form that carries such an IPv4 address inside. Private networks are not refused:
// metrics live there.
//
// Answers are bounded after decompression, and so are redirects and time. An administrator's allow-list is the key
// `egress.allow` of the plugin ConfigMap; hosts deliver it with Configure, and plugin.Info.Egress receives it:
//
//	guard := egress.NewGuard()
//	plugin.Serve(plugin.Info{Name: "mine", Version: "0.1.0", Egress: guard.Set}, …)
//	client := guard.Client(egress.Options{})
package egress
