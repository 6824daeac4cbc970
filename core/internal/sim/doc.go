// Package sim is a cluster in memory that plays the plans of a Rollout: a
// versioned store, a ReplicaSet controller with pods, traffic routers with a
// data plane that lags, AnalysisRuns that end with a scripted verdict, people,
// and a controller that observes, decides, acts and records like the real one.
//
// Time is virtual and nothing runs in the background, so a run is a function of
// what was asked of it. The controller may be restarted before any of its
// writes, and its caches may lag.
//
// Every plan is checked with invariant.Check. Besides, every committed write of
// the controller is judged by oracles that look at the store and the data plane
// only, never at what the planner believed.
//
// Read world.go first, then controller.go; oracle.go and rest.go say what must
// always and what must finally hold.
package sim
