// Package core is the controller: it wires informers, planner, plugin host and
// broker together and runs them.
//
// Reading map, in the order data flows:
//
//	core/api/v1alpha1            the types, JSON-compatible with argoproj.io/v1alpha1
//	core/internal/rollout        the values: Snapshot, Plan, Op, Hold, Outcome
//	core/internal/observe        caches and router observations → Snapshot
//	core/internal/decide         Snapshot → Plan, pure, one topic a file
//	core/internal/invariant      Plan → violations of the safety rules I1–I9
//	core/internal/act            Plan → API writes → Outcome
//	core/internal/record         Snapshot, Plan, Outcome → status and events, pure
//	core/internal/analysis       AnalysisRuns: the same verbs as files
//	core/internal/plugins        the plugin host: ConfigMap → catalog → processes
//	core/internal/broker         what plugins may read and write
//	core/internal/controller     reconcilers, watches, queues, and the wiring of all this
//	core/internal/sim            a simulated cluster that plays plans
//	core/preview                 Plan, Explain, Lint, Migrate: the planner for the command line
package core
