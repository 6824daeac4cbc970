// Package bench measures the whole controller on a real control plane: how soon
// a hand edit is repaired, and how many requests an update takes. Counts are
// bars; times are figures to look at, since they depend on the machine.
package bench
