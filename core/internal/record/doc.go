// Package record computes, purely, what a reader of the Rollout should know
// after a pass: the status and the events, from (snapshot, plan, outcome).
package record
