// Package cli is `kubectl sluice`: one file a command.
//
// Whatever a command writes is a plain field of the object, the same one that
// Argo Rollouts' CLI writes, so that either controller understands it. Nothing
// here talks to the Sluice controller.
//
// root.go puts the commands together, cluster.go connects, failure.go says what
// went wrong and what helps, tree.go and style.go show things.
package cli
