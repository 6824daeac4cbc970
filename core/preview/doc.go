// Package preview is the planner without a cluster, for the command line and
// for CI: Plan says what the controller would do, Explain what a Rollout waits
// for, Lint what is wrong with a manifest.
//
// Nothing here is a second opinion. Plan plays the controller's own planner in
// the simulator that also tests it, and a test holds its forecasts against the
// trace of every golden story; Explain and Lint ask the planner once. The package
// is pure: no client, no clock, no files.
package preview
