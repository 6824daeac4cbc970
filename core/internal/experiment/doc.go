// Package experiment decides about one Experiment with the same verbs as a
// rollout, all of them pure; observe fills the Snapshot and act executes the
// Plan:
//
//	Snapshot  the experiment, what it owns, and what must not be disturbed   snapshot.go
//	decide    what its templates and analyses have come to                   decide.go, templates.go, phase.go
//	          ReplicaSets, Services and AnalysisRuns to change               sets.go, services.go, analyses.go, args.go
//	record    status, conditions and events                                  record.go, conditions.go, events.go
//
// The state between two passes is in the API: ReplicaSets and Services are
// found by their owner and annotations, and an AnalysisRun is named in status
// before it is created. A pass that is interrupted anywhere is made again.
//
// Weights are the Rollout's doing: it reads hash, Service and available pods of
// each template from status. Pods it has routed traffic to are not scaled down.
package experiment
