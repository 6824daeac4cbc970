// Package stage sets up what stories about the whole controller are played on:
// a real control plane, the controller and its plugins as processes under their
// own RBAC, and stand-ins for the two things that are not there, a gateway and
// a Prometheus. The end-to-end tests and the benchmarks use it.
//
//	Stage       the cluster, the built programs, the stand-ins; one per test binary
//	Controller  a controller process: started, killed, restarted, its counters
//	App         a namespace with a Rollout and what it needs, and its story so far
//	World       the state of an App at one moment
package stage
