// Package bench measures the whole controller on a real control plane: how soon
// a hand edit is repaired, how many requests an update takes, what many Rollouts
// at once and at rest cost. Counts are bars; times and CPU are figures to look
// at, since they depend on the machine and on what else it does.
//
// Sizes come from the environment, so that a small machine can measure less:
// SLUICE_BENCH_BASIC (300) and SLUICE_BENCH_ROUTED (100) Rollouts updated at
// once, SLUICE_BENCH_RESTING (50) at rest for SLUICE_BENCH_REST_SECONDS (600),
// SLUICE_BENCH_COLD (5000) found by a controller that starts,
// SLUICE_BENCH_STEPPED (200) whose steps are set going one after the other.
// SLUICE_BENCH_REFERENCE is the path of Argo Rollouts' controller, or of another
// with its flags and metrics, that is measured and compared beside ours.
package bench
