// Package broker shows plugins the Kubernetes objects they need and makes the
// changes they ask for. A plugin holds no credentials; what it may touch is
// decided here, in this order:
//
//   - never: Secrets, argoproj.io, RBAC, admission, tokens (access.go);
//   - its grant, verb by verb and kind by kind;
//   - the namespace: that of the calling object, one the grant allows, or one
//     that agrees through a Gateway API ReferenceGrant (referencegrant.go).
//
// Reading (broker.go, watch.go, kinds.go): one informer per kind, namespace and
// name or selector, started by the first Resolve that asks, dropped some time
// after the last subscriber has gone. Resolve never waits; it says how far the
// answer is, and the subscriber is told when that changes.
//
// Writing (apply.go, patch.go): the difference between the object as it was
// shown and as the plugin wants it becomes a JSON merge patch that carries the
// shown resourceVersion, so fields the plugin does not know survive and a
// change by somebody else is a conflict, never lost.
//
// After a write the objects it touched are not shown again until the informer
// has caught up with it (written.go): nobody plans on a state that this process
// knows to be old.
package broker
