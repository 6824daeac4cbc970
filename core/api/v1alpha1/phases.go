package v1alpha1

// RolloutPhase sums a rollout up.
type RolloutPhase string

// Phases of a rollout.
const (
	// RolloutPhaseHealthy: the new revision has replaced the old one.
	RolloutPhaseHealthy RolloutPhase = "Healthy"
	// RolloutPhaseDegraded: it is invalid, aborted or past its deadline.
	RolloutPhaseDegraded RolloutPhase = "Degraded"
	// RolloutPhaseProgressing: something is still going on.
	RolloutPhaseProgressing RolloutPhase = "Progressing"
	// RolloutPhasePaused: it waits for a time or for a user.
	RolloutPhasePaused RolloutPhase = "Paused"
)

// AnalysisPhase is the verdict of a run, a metric, a measurement or an
// experiment. Empty means that nobody has looked yet.
type AnalysisPhase string

// Verdicts.
const (
	AnalysisPhasePending      AnalysisPhase = "Pending"
	AnalysisPhaseRunning      AnalysisPhase = "Running"
	AnalysisPhaseSuccessful   AnalysisPhase = "Successful"
	AnalysisPhaseFailed       AnalysisPhase = "Failed"
	AnalysisPhaseError        AnalysisPhase = "Error"
	AnalysisPhaseInconclusive AnalysisPhase = "Inconclusive"
)

// Completed reports whether the verdict is final.
func (p AnalysisPhase) Completed() bool {
	switch p {
	case AnalysisPhaseSuccessful, AnalysisPhaseFailed, AnalysisPhaseError, AnalysisPhaseInconclusive:
		return true
	}
	return false
}

// PauseReason is why a rollout is paused.
type PauseReason string

// Reasons in status.pauseConditions.
const (
	// PauseReasonCanaryPauseStep: the current step is a pause.
	PauseReasonCanaryPauseStep PauseReason = "CanaryPauseStep"
	// PauseReasonBlueGreenPause: the preview waits for promotion.
	PauseReasonBlueGreenPause PauseReason = "BlueGreenPause"
	// PauseReasonInconclusiveAnalysis: an AnalysisRun could not tell.
	PauseReasonInconclusiveAnalysis PauseReason = "InconclusiveAnalysisRun"
	// PauseReasonInconclusiveExperiment: an Experiment could not tell.
	PauseReasonInconclusiveExperiment PauseReason = "InconclusiveExperiment"
)
