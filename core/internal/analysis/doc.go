// Package analysis judges one AnalysisRun with the same verbs as a rollout:
//
//	observe  Snapshot of the run and of the provider calls under way   observe.go
//	decide   which calls to make or end, and when to look again, pure  decide.go
//	act      make those calls outside of the reconcile worker          act.go, calls.go
//	record   measurements, phases, messages and summaries, pure        record.go, assess.go
//
// A provider measures, the core judges: conditions are evaluated here
// (package condition), and what a metric needs is filled in from the run's
// arguments (package runspec). The state between two passes is the run's
// status and nothing else; a result that was not written is measured again
// under the same measurement id, so nothing is counted twice.
package analysis
