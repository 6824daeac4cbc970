// Package decide turns a Snapshot into a Plan. It is pure: no context, client,
// clock, logger, goroutine or package variable.
//
// Decide is an ordered list of stages, one topic a file. It is not
// first-match: each stage sees the plan so far and adds to it, lowers a target
// or vetoes. The order is the order of importance when they disagree:
//
//	identify   which revision is wanted, which one is stable
//	valid      what is wrong with the spec; vetoes everything that raises
//	routers    what is known about traffic; vetoes while it is unknown
//	position   reset, abort, retry, promotion, steps: at most one change a pass
//	targets    how many pods each revision needs
//	services   which revision each Service selects
//	traffic    which weights each router carries
//	scale      the ReplicaSet writes that follow
//	runs       AnalysisRuns to start and to stop
//	cleanup    scale-down deadlines, history limits
//
// A plan that moves the step index holds no operation of the new step.
package decide
