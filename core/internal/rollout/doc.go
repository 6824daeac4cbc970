// Package rollout holds the values that flow through one reconcile of a
// Rollout: the Snapshot that observe fills, the Plan that decide returns, the
// Operations that act executes and the Outcome that record turns into status.
//
// Everything here is plain data with pure functions over it: no client, no
// clock, no logger. Whoever wants to know what the controller knows, wants or
// waits for reads these types first.
package rollout
